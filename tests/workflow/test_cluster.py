"""What the workflow adds to Snakemake's executor for Slurm; tests/cluster runs a real one."""

from types import SimpleNamespace

import cluster


class Job(SimpleNamespace):
    def is_group(self):
        return False


def job(rule, **resources):
    return Job(rule=SimpleNamespace(name=rule), resources=resources, attempt=1, restart_times=0)


def test_ready_jobs_of_an_array_rule_are_submitted_though_others_are_not_ready():
    submitted = []
    executor = SimpleNamespace(
        array_jobs={"crop", "pack"},
        _submit_array_jobs=lambda jobs: submitted.append([each.rule.name for each in jobs]),
        _submit_job=lambda one: submitted.append(one.rule.name),
    )
    jobs = [job("crop"), job("train"), job("pack"), job("crop")]
    cluster._run_jobs(executor, lambda _, rest: submitted.extend(rest), jobs)
    assert submitted == [jobs[1], ["crop", "crop"], "pack"]


def test_the_last_sentence_on_a_job_without_memory_says_how_to_give_more():
    failed = job("train", mem_mb=8000, runtime=480)
    sentence = cluster._sentence(failed, "ended job 7 with OUT_OF_MEMORY", "OUT_OF_MEMORY")
    assert sentence == (
        "graft train: Slurm ended job 7 with OUT_OF_MEMORY (attempt 1 of 1, mem_mb=8000, "
        "runtime=480). Give it more: --set-resources train:mem_mb=16000"
    )
    failed.restart_times = 2
    assert "more" not in cluster._sentence(failed, "ended job 7 with TIMEOUT", "TIMEOUT")


def test_a_job_that_fails_by_itself_is_not_reported_with_the_reason_of_an_earlier_attempt():
    # Jobs are compared by identity, as in Snakemake.
    failed = type("One", (Job,), {"__hash__": object.__hash__})(**vars(job("train")))
    ended = {}
    for msg, expected in (("SLURM status is: 'TIMEOUT'", 1), (None, 0)):
        given = SimpleNamespace(job=failed, external_jobid="7", aux=None)
        cluster._print_job_error(None, lambda *_, **options: None, ended, given, msg=msg)
        assert len(ended) == expected
