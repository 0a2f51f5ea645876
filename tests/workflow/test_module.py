"""Graft imported by another workflow: `module graft: ...`, `use rule * from graft`."""

import subprocess

import pytest
import yaml
from project import TINY, Project, executed, planned

IMPORTER = """
configfile: "config.yaml"


module graft:
    snakefile:
        "../graft/Snakefile"
    config: config["graft"]
{options}

rule all:
    input:
        "greeting.txt",


rule greet:
    input:
        "results/data/portraits/data_file.csv",
    output:
        "greeting.txt",
    cache: True
    shell:
        "wc -l < {{input}} > {{output}}"


use rule * from graft{names}

onstart:
    graft.onstart()


onsuccess:
    graft.onsuccess()
"""
PREFIX = " as graft_*"
ARCHIVE = "results/data/portraits/raw/wiki_crop.tar"

pytestmark = pytest.mark.workflow


class Importer(Project):
    """A workflow in a folder of its own, beside a clone of Graft."""

    def __init__(self, folder, *, names=PREFIX, options="", config=TINY):
        self.clone = Project(folder / "graft")
        own = folder / "analysis"
        own.mkdir()
        (own / "Snakefile").write_text(IMPORTER.format(names=names, options=options))
        graft = yaml.safe_load(config.read_text())
        (own / "config.yaml").write_text(yaml.safe_dump({"greeting": "hello", "graft": graft}))
        super().__init__(own, store=folder / ".store", overlays=())
        self.clone.store = self.store

    def command(self, *arguments, **options):
        return super().command(*arguments, "--cache", profile="none", **options)


def test_a_workflow_that_imports_graft_plans_its_rules_under_other_names(tmp_path):
    project = Importer(tmp_path)
    alone = Project(tmp_path / "alone").dry_run()
    renamed = {f"graft_{rule}": jobs for rule, jobs in planned(alone).items()}
    assert len(renamed) > 10 and planned(project.dry_run("graft_all")) == renamed | {"graft_all": 1}


def test_an_importer_shares_the_store_with_a_clone_and_runs_rules_of_its_own(tmp_path):
    project = Importer(tmp_path)
    assert executed(project.snakemake()) == [*("graft_download", "graft_structure", "greet", "all")]
    assert int((project.folder / "greeting.txt").read_text()) > 1
    assert "Nothing to be done" in project.dry_run()
    # The recipes name neither the rules nor the folder of the importer.
    log = project.clone.snakemake("results/data/portraits/data_file.csv")
    assert "Linking results/data/portraits/data_file.csv to the store" in log
    (project.folder / ARCHIVE).unlink()
    assert "graft_download" in planned(project.dry_run())


def test_without_a_prefix_the_importer_leaves_out_what_it_has_itself(tmp_path):
    project = Importer(tmp_path, names=" exclude all")
    assert planned(project.dry_run()) == {"download": 1, "structure": 1, "greet": 1}


def test_a_rule_may_be_changed_where_it_is_imported_if_it_keeps_the_contract(tmp_path):
    project = Importer(tmp_path)
    changed = "use rule structure from graft as graft_structure with:\n    threads: 2\n"
    with open(project.folder / "Snakefile", "a") as file:
        file.write(changed)
    # Snakemake takes no `cache` for a changed one.
    assert "rule graft_structure lacks `cache: True`" in project.dry_run(check=False)
    with open(project.folder / "Snakefile", "a") as file:
        file.write("    cache: True\n")
    log = project.dry_run()
    assert "threads: 2" in log and planned(log)["graft_structure"] == 1


def test_a_prefix_for_paths_is_refused(tmp_path):
    project = Importer(tmp_path, options='    prefix: "transfer"\n')
    assert "`replace_prefix` cannot move them. Leave these out." in project.dry_run(check=False)


def test_a_snakefile_without_its_library_is_refused(tmp_path):
    """As Snakemake fetches one from a repository: nothing but what it includes."""
    project = Importer(tmp_path)
    clone = project.clone.folder
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "clone"]):
        name = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
        subprocess.run(["git", *name, *command], cwd=clone, check=True)
    text = (project.folder / "Snakefile").read_text()
    fetched = f'gitfile("{clone}", path="Snakefile", ref="HEAD")'
    (project.folder / "Snakefile").write_text(text.replace('"../graft/Snakefile"', fetched))
    assert "Clone the repository, and name the clone's Snakefile." in project.dry_run(check=False)
