"""The one exception that a user is meant to read."""


class GraftError(Exception):
    """Bad input or a broken contract, told in one sentence.

    The sentence names the file and the config key concerned and says what to do. Adapters
    print it without a traceback; anything else that escapes is a defect of Graft.
    """
