"""The report: what stands on its page, in which order, and that it needs nothing but itself."""

import html.parser
import json
import re
import shutil
import subprocess

import pandas as pd
import pytest

from graft.config.reports import ReportedExperiment, ReportSettings
from graft.datasets import table
from graft.reporting import charts, report, tables

NASTY = '</script><b>"one" & other'
"""A class as a folder may be called."""

CPU = {"model": "Xeon", "instructions": ["avx2"]}
DATASETS = {"sex": "portraits", "identity": "people"}
MODES = {"sex": ["from_scratch", "fine_tuning"], "identity": ["from_scratch"]}
ROW = {"mean": 0.8, "std": 0.01, "low": 0.7, "high": 0.9, "seeds": {"0": 0.79, "1": 0.81}}
PAIR = {"a": "fine_tuning", "b": "from_scratch", "difference": 0.1, "low": 0.02, "high": 0.2}
LABELS = {
    "metric": "accuracy",
    "level": 0.95,
    "majority_baseline": 0.5,
    "sizes": [10, 40],
    "modes": {
        mode: [{**ROW, "train_rows": n, "updates": n, "failed": {}} for n in (10, 40)]
        for mode in MODES["sex"]
    },
    "sentences": ["fine_tuning needs a quarter of the labels."],
}


def record(stage, results=None, outputs=(), inputs=(), **wildcards):
    """A seal's contents, as far as the report reads it."""
    seal = {
        "stage": stage,
        "graft_version": "0.1.0",
        "digest": f"{stage} {wildcards}",
        "recipe": {"wildcards": wildcards, "python": "3.11.7", "lock": "10ck"},
        "run": {"seconds": 1.0, "peak_memory_mb": 100, "cpu": CPU},
        "outputs": {role: {"file": role, "sha256": f"{stage} {role}"} for role in outputs},
    }
    return {**(results or {}), "seal": seal}


def fit(experiment, mode):
    results = {
        "chosen": {"lr": 0.003},
        "tuning": [{"trials": []}, {"trials": []}],
        "best_epoch": 3,
        "epochs": 9,
        "samples": {"train": 81, "val": 20},
        "updates": {"trials": 10, "full": 90},
    }
    return record(
        "train", results, ("model", "history"), experiment=experiment, mode=mode, seed="0"
    )


def plotted(folder, experiment):
    """The outputs of the plots stage."""
    folder = folder / experiment / "plots"
    folder.mkdir(parents=True)
    for name in ("mode_comparison", "contact_sheet", "learning_curves", "mistakes", "own_figure"):
        (folder / f"{name}.svg").write_text(f"<svg><!-- {name} --></svg>")
    run = {"n": 80, "majority_baseline": 0.5, "accuracy": 0.8}
    none = {"value": None, **dict.fromkeys(("log_loss", "brier", "ece"))}
    run["temperature"] = none | {"intervals": none}
    summary = tables.summary_table({mode: {0: run} for mode in MODES[experiment]})
    tables.write_csv(summary, folder / "summary.csv")
    answer = {"mode": "from_scratch", "predicted": NASTY, "confidence": 0.9}
    other = {"mode": "from_scratch", "predicted": "male", "confidence": 0.95}
    pictures = [
        {"sample_id": "a1", "true": "male", "answers": [answer], "jpeg": "aaaa"},
        {"sample_id": "b2", "true": NASTY, "answers": [other], "jpeg": "bbbb"},
    ]
    mistakes = {"wrong": {mode: 2 for mode in MODES[experiment]}, "pictures": pictures}
    (folder / "mistakes.json").write_text(json.dumps(mistakes))
    return sorted(folder.iterdir())


def compared(experiment, **others):
    results = {
        "metric": "accuracy",
        "level": 0.95,
        "n_samples": 80,
        "n_groups": 70,
        "majority_baseline": 0.5,
        "modes": dict.fromkeys(MODES[experiment], ROW),
        "failed": {},
        "pairs": [],
        **others,
    }
    return record("compare", results, ("comparison",), experiment=experiment)


def sample_rows(path, samples):
    """A data_file.csv of these samples, sample id -> split ("" for a dropped one)."""
    rows = pd.DataFrame(
        {
            "sample_id": list(samples),
            "split": list(samples.values()),
            "shard": [0 if split else -1 for split in samples.values()],
            **dict.fromkeys(("label", "group", "archive", "member", "box"), "x"),
            "offset": 0,
            "size": 1,
            "drop_reason": ["" if split else "no_label" for split in samples.values()],
        }
    )
    path.parent.mkdir(exist_ok=True)
    table.write(path, rows)
    return path


SAMPLES = {"a": "train", "b": "train", "c": "val", "d": "test", "e": ""}


def packed(classes):
    return {"rows": sum(classes.values()), "classes": classes}


STRUCTURE = {
    "published": 9,
    "kept": 6,
    "dropped": {"no_label": 3},
    "duplicates": 0,
}


@pytest.fixture
def write(tmp_path):
    """Writes a page of two experiments; returns its text, its results and the new memory."""
    verdict = "fine_tuning beats from_scratch by 10.0 points [2.0, 20.0]"
    equal = PAIR | {"low": -0.1, "verdict": "no evidence of a difference between them"}
    sex = compared("sex", pairs=[equal, PAIR | {"verdict": verdict}])
    files = {
        "plots": [path for name in MODES for path in plotted(tmp_path, name)],
        "data_files": [
            sample_rows(tmp_path / name / "data_file.csv", SAMPLES) for name in DATASETS.values()
        ],
        "overviews": [],
    }
    sentences = {"verdicts": [verdict], "warnings": ["seed 1 failed."], "notes": ["Chosen."]}
    records = {
        "comparisons": [compared("identity"), sex],
        "plots": [record("plots", sentences, experiment=name) for name in MODES],
        "fits": [fit(name, mode) for name, modes in MODES.items() for mode in modes],
        "data_files": [
            record("structure", STRUCTURE, ("data_file",), dataset=name)
            for name in DATASETS.values()
        ],
        "overviews": [],
        "others": [
            made
            for name in DATASETS.values()
            for split, classes in {"train": {"male": 2, NASTY: 1}, "val": {"male": 1}}.items()
            for made in (
                record("crop", {"dropped": {"no_face": 1}}, dataset=name, part=f"{split}-00"),
                record("pack", packed(classes), dataset=name, part=f"{split}-00"),
            )
        ],
    }
    settings = ReportSettings(
        experiments=tuple(
            ReportedExperiment(
                name=name,
                title=f"Which {name}?",
                dataset=DATASETS[name],
                source="vgg",
                target=name == "sex",
            )
            for name in MODES
        ),
        captions={"own_figure": "How to read it."},
        reproducible="portable",
    )

    def written(memory=None, **changed):
        results, left = report.write(
            tmp_path / "report.html",
            settings,
            files,
            {**records, **changed},
            memory=memory or {},
            date="2026-01-02",
            command="snakemake --cores all --configfile 'my file.yaml'",
            config="c0ff",
        )
        return (tmp_path / "report.html").read_text(encoding="utf-8"), results, left

    return written


class Page(html.parser.HTMLParser):
    """Every tag with its attributes, and the text outside of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self._inside = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_data(self, data):
        if self._inside not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


def test_the_result_comes_first_and_the_source_task_last(write):
    text, results, _ = write()
    page = Page(text)
    body = page.text[page.text.index("Measured on") :]  # below the contents
    places = [
        body.index(words)
        for words in (
            "beats",
            "no evidence of a difference",
            "the commonest class 50.0 %",
            "Pictures kept and dropped",
            "Since the last report",
            "seed 1 failed.",
            "How to reproduce",
            "snakemake --cores all --configfile 'my file.yaml'",
            "All metrics",
            "identity: source vgg",
        )
    ]
    assert places == sorted(places)
    sections = [attrs["id"] for tag, attrs in page.tags if tag == "section"]
    assert sections == [
        *("result", "pictures", "changes", "warnings", "reproduce", "sex", "identity"),
    ]
    assert results["experiments"] == ["sex", "identity"]


def test_a_verdict_is_marked_by_its_kind_and_names_modes_in_their_colours(write):
    page = Page(write()[0])
    kinds = [attrs.get("class") for tag, attrs in page.tags if tag == "li" and "class" in attrs]
    assert kinds == ["beats", "equal"]
    assert report.kind(PAIR | {"verdict": "no verdict: fine_tuning did not train"}) == "none"
    assert report.marked("a_b beats a_b_c by 3.0 points [1.0, 5.0]", ["a_b_c", "a_b"]) == [
        ("a_b", charts.colour("a_b")),
        (" beats ", ""),
        ("a_b_c", charts.colour("a_b_c")),
        (" by 3.0 points [1.0,\u00a05.0]", ""),
    ]


def test_what_was_kept_and_dropped_is_counted_by_class_split_and_reason(write):
    structure = record("structure", STRUCTURE, dataset="portraits")
    others = [
        record("crop", {"dropped": {"no_face": 2}}, dataset="portraits", part="train-00"),
        record("pack", packed({"m": 2, "f": 1}), dataset="portraits", part="train-00"),
        record("pack", packed({"m": 1, "f": 0}), dataset="portraits", part="test-01"),
        record("pack", packed({"m": 50}), dataset="people", part="train-00"),
    ]
    found = report.dataset(structure, others)
    assert found["classes"] == [("m", 2, 0, 1, 3), ("f", 1, 0, 0, 1)]
    assert found["parts"] == [
        *(("train", 3, 33.33), ("val", 0, 0), ("test", 1, 11.11), ("dropped", 5, 55.56)),
    ]
    assert found["dropped"] == [("structure", "no label", 3), ("crop", "no face detected", 2)]
    assert "4 of 9 published pictures kept" in Page(write()[0]).text


def test_a_run_on_other_pictures_says_what_has_changed(write):
    text, _, memory = write()
    assert "No earlier report in this folder had other pictures or results." in text
    memory["datasets"]["portraits"] |= {"digest": "old", "date": "2026-01-01"}
    memory["datasets"]["portraits"]["samples"] = {"train": ["a", "x"], "test": ["d"]}
    memory["experiments"]["sex"]["means"] = {"from_scratch": 0.8, "fine_tuning": 0.75}
    page = Page(write(memory)[0])
    assert (
        "+2 −1 pictures since the previous data_file.csv: train +1 −1, val +1; dropped +1"
        in page.text
    )
    assert "fine_tuning 75.0 → 80.0" in page.text
    assert "from_scratch 80.0 →" not in page.text


def test_how_a_checkpoint_was_read_stands_beside_the_digests(write):
    assert "prefix taken off" not in write()[0]
    held = {"unwrapped": ["<b>"], "stripped": "module.", "notes": ["7 tensors are float16."]}
    text, *_ = write(others=[record("weights", held, ("weights",), source="vgg")])
    assert "vgg <b> module. 7 tensors are float16." in Page(text).text
    assert text.index("prefix taken off") < text.index("<summary>Digests of the data")


def test_the_labels_curve_stands_beside_the_estimates_where_there_is_one(write):
    assert "needs a quarter" not in write()[0]
    text, *_ = write(labels=[record("labels", LABELS, experiment="sex")])
    page = Page(text)
    assert "fine_tuning needs a quarter of the labels." in page.text
    assert text.count("<polyline") == 4  # two modes, by the metric and by updates
    assert text.index("needs a quarter") < text.index("Pictures kept and dropped</h2>")


def test_figures_have_their_order_and_captions_and_those_of_users_follow(write):
    page = Page(write()[0])
    shown = [attrs["alt"] for tag, attrs in page.tags if tag == "img" and attrs["alt"]]
    assert shown == ["learning curves", "contact sheet", "own figure"] * 2
    assert "How to read it." in page.text


def test_the_page_needs_nothing_but_itself_and_names_are_only_text(write):
    text, *_ = write()
    page = Page(text)
    links = [a[key] for _, a in page.tags for key in ("src", "href") if key in a]
    assert links and all(link.startswith(("#", "data:image/")) for link in links)
    assert not re.search(r"@import|url\(|https?://", text)
    cards = [attrs for _, attrs in page.tags if "data-true" in attrs]
    assert [card["data-true"] for card in cards] == ["male", NASTY] * 2
    assert text.count("</script>") == 2


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_tables_sort_and_mistakes_are_filtered(write, tmp_path):
    text, *_ = write()
    acts = """<script>
    const gallery = document.querySelector(".gallery"), choice = gallery.querySelector("select");
    choice.value = "male";
    choice.dispatchEvent(new Event("change", { bubbles: true }));
    const table = document.querySelector("#pictures table");
    const names = () => [...table.tBodies[0].rows].map((row) => row.cells[1].textContent);
    table.tHead.rows[0].cells[1].click();
    const down = names();
    table.tHead.rows[0].cells[1].click();
    document.body.textContent = gallery.querySelector("output").textContent + "; " + down + "; "
      + names() + "; " + (document.scrollingElement.scrollWidth <= innerWidth);
    </script></body>"""
    path = tmp_path / "acted.html"
    path.write_text(text.replace("</body>", acts), encoding="utf-8")
    browser = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
        + ["--virtual-time-budget=5000", "--host-resolver-rules=MAP * ~NOTFOUND", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "1 of 2 pictures; 2,1; 1,2; true" in browser.stdout


def test_what_a_probe_chose_is_shown_as_it_is():
    run = {"seconds": 1.5, "peak_memory_mb": 300}
    wildcards = {"mode": "knn_probe", "seed": "0"}
    fit = {
        "chosen": {"k": 5, "distance": "cosine"},
        "tuning": [{}] * 6,
        "epochs": 0,
        "best_epoch": 0,
        "samples": {"train": 20},
        "seal": {"run": run, "recipe": {"wildcards": wildcards}},
    }
    shown = report.trained(fit)
    assert (shown["chosen"], shown["epochs"]) == ("k 5, distance cosine", "–")
