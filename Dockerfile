# The workflow with its locked environment. UNTESTED: no container engine and no registry could be
# had where this was written; docs/how-to/deploy-environments.md says what was checked.
#
#   docker build -t graft .
#   docker run --rm -v "$PWD:/work" --user "$(id -u):$(id -g)" graft --cores all
FROM python:3.11-slim-bookworm

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1

WORKDIR /opt/graft
COPY envs/graft.lock envs/graft.lock
# The lock is complete, and facenet-pytorch asks for an older torch than is pinned: no resolver.
RUN python -m pip install --no-deps --require-hashes --requirement envs/graft.lock \
 && useradd --create-home --uid 1000 graft \
 && mkdir /work \
 && chown graft /work

COPY Snakefile Snakefile
COPY workflow workflow
COPY config config
COPY profiles profiles
COPY envs envs

USER 1000
# Caches of libraries must be writable for any --user.
ENV HOME=/tmp
# results/, downloads/ and the store are made in the folder mounted here.
WORKDIR /work
ENTRYPOINT ["snakemake", "--snakefile", "/opt/graft/Snakefile"]
CMD ["--cores", "all"]
