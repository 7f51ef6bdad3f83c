"""Reading files: what is no scenario file is refused in one sentence, and quickly."""

import os
import re
import time

import pytest

from optimizer.files.run_directory import to_text
from optimizer.scenario import Scenario, ScenarioError
from optimizer.scenario.files import MAX_BYTES, include_drugs, read_toml

from .conftest import SHIPPED, STROMAL
from .helpers import assert_readable


def refused(tmp_path, data: bytes, match: str):
    path = tmp_path / "s.toml"
    path.write_bytes(data)
    start = time.process_time()
    with pytest.raises(ScenarioError, match=match) as caught:
        Scenario.load(path)
    assert time.process_time() - start < 2.0
    assert_readable(caught.value, at_most=1)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", r"model: wanted this key"),
        (b"a = 1\na = 2", "end of document: wanted valid TOML; got a line that is not: cannot overwrite a value"),
        (b"a = ", "end of document: wanted valid TOML"),
        (b"\xff\xfe", "line 1: wanted UTF-8 text; got the byte 0xff"),
        (b'title = "\xe9"', "line 1: wanted UTF-8 text; got the byte 0xe9"),
        (b'\xef\xbb\xbf\ntitle = "\xe9"', "line 2: wanted UTF-8 text; got the byte 0xe9"),
        (b"a = nan", "a: wanted a finite number; got nan"),
        (b"[x]\ny = [1.0, -inf]", r"x.y\[1\]: wanted a finite number; got -inf"),
        (b"a = " + b"1" * 5000, "wanted numbers of reasonable length"),
        (b"a = " + b"[" * 50_000, "nested too deep"),
        (b"a" + b".a" * 50_000 + b" = 1", "wanted keys of a few parts; got one of more than 64"),
        (b"[" + b"a." * 50_000 + b"a]", "wanted keys of a few parts; got one of more than 64"),
        (b"# " + b"x" * MAX_BYTES, f"wanted at most {MAX_BYTES} bytes; got more"),
    ],
    ids=lambda value: value[:20].decode("latin-1") if isinstance(value, bytes) else "",
)
def test_refused(tmp_path, data, match):
    if data == b"":
        path = tmp_path / "s.toml"
        path.write_bytes(data)
        with pytest.raises(ScenarioError, match=match) as caught:
            Scenario.load(path)
        assert len(caught.value.faults) == 3
        return
    refused(tmp_path, data, match)


def test_places(tmp_path):
    with pytest.raises(ScenarioError, match="wanted a scenario file; got nothing there"):
        Scenario.load(tmp_path / "none.toml")
    with pytest.raises(ScenarioError, match="wanted a scenario file; got a folder"):
        Scenario.load(tmp_path)
    with pytest.raises(ScenarioError, match="wanted a "):
        Scenario.load("a\0b.toml")
    with pytest.raises(ScenarioError, match="wanted a readable file; got File name too long"):
        Scenario.load("x" * 5000)


def test_fifo_does_not_hang(tmp_path):
    path = tmp_path / "pipe.toml"
    os.mkfifo(path)
    with pytest.raises(ScenarioError, match="wanted a scenario file; got a device, pipe or socket"):
        Scenario.load(path)


def test_many_dots_are_fast(tmp_path):
    start = time.process_time()
    refused(tmp_path, b"\n".join(b"x%d" % i + b".a" * 2000 + b" = 1" for i in range(250)), "keys of a few parts")
    assert time.process_time() - start < 2.0


@pytest.mark.parametrize("line", [b"k%d = 1", b"[t%d]", b"[[m]]\n#%d", b"x%d = {a={b={c={}}}}"])
def test_many_keys_are_fast(tmp_path, line):
    path = tmp_path / "s.toml"
    path.write_bytes(b"\n".join(line % i for i in range(20_000)))
    start = time.process_time()
    with pytest.raises(ScenarioError, match="wanted") as caught:
        Scenario.load(path)
    assert time.process_time() - start < 2.0
    assert_readable(caught.value)


def test_byte_order_mark_and_windows_lines(tmp_path):
    path = tmp_path / "s.toml"
    path.write_bytes(b"\xef\xbb\xbf" + STROMAL.replace("\n", "\r\n").encode())
    scenario = Scenario.load(path)
    assert scenario.name == "s"
    assert scenario.plan.horizon == 90.0


def test_drug_file(tmp_path):
    (tmp_path / "drugs").mkdir()
    (tmp_path / "drugs" / "c.toml").write_text(
        'name = "cetuximab"\npk = { kind = "first_order", half_life = "5 day" }\ndose = { max = "3 ug/mL" }\n'
    )
    data = {"drug": [{"file": "drugs/c.toml", "name": "other"}]}
    merged, origin = include_drugs(data, tmp_path, "s.toml")
    assert merged["drug"][0]["name"] == "other"
    assert merged["drug"][0]["dose"] == {"max": "3 ug/mL"}
    assert origin == {"drug[0].pk": "drugs/c.toml", "drug[0].dose": "drugs/c.toml"}


def test_fault_inside_a_drug_file_says_so(tmp_path):
    pk = 'pk = { kind = "first_order", half_life = "5 mg" }'
    (tmp_path / "c.toml").write_text(f'name = "c"\n{pk}\ndose = {{ max = 3 }}\n')
    body = STROMAL[STROMAL.index("[model]") : STROMAL.index("[[drug]]")] + STROMAL[STROMAL.index("[decision]") :]
    (tmp_path / "s.toml").write_text(body + '[[drug]]\nfile = "c.toml"\n')
    with pytest.raises(ScenarioError, match=r"drug\[0\]\.pk\.half_life \(of c\.toml\): wanted a quantity"):
        Scenario.load(tmp_path / "s.toml")


@pytest.mark.parametrize("file", ["/etc/passwd", "x.txt", "", "a\0.toml", "a\n.toml"])
def test_drug_file_that_is_none(tmp_path, file):
    with pytest.raises(ScenarioError, match=r"drug\[0\]\.file: wanted a \.toml file relative to the scenario"):
        include_drugs({"drug": [{"file": file}]}, tmp_path, "s.toml")


def test_drug_file_includes_no_other(tmp_path):
    (tmp_path / "c.toml").write_text('file = "c.toml"\n')
    with pytest.raises(ScenarioError, match="includes no other"):
        include_drugs({"drug": [{"file": "c.toml"}]}, tmp_path, "s.toml")


def test_text_is_kept():
    path = SHIPPED[0]
    assert Scenario.load(path).text == path.read_text()
    data, text = read_toml(path)
    assert text == path.read_text()
    assert "model" in data


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("schedule.csv", "ID,TIME,EVID,AMT,RATE\n1,0,1,3,0\n", r"got a table with the columns .*--schedule"),
        ("doses.txt", "day;drug;amount\n0;a;1,5\n", "got a table with the columns"),
        ("model.xml", '<?xml version="1.0"?>\n<sbml level="3"></sbml>\n', "got a model in SBML"),
        ("page.html", "<!doctype html>\n<p>\n", "got XML"),
        ("report.json", '{"format": "adose-report-1"}', 'got JSON of the format "adose-report-1"'),
        ("other.json", '{"a": NaN}', "got JSON of another kind"),
        ("broken.json", '{"a": ', "got a brace, and then no JSON"),
        ("typo.toml", "title = 'a, b, c\n", "wanted valid TOML"),
    ],
)
def test_a_file_of_another_kind_is_told_what_it_is(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(ScenarioError) as caught:
        Scenario.load(tmp_path / name)
    assert re.search(said, str(caught.value))
    assert len(caught.value.faults) == 1


@pytest.mark.parametrize("name", ["crc_caf_cetuximab", "docetaxel_neutropenia", "competing_clones_trial"])
def test_what_a_run_resolved_loads_as_a_scenario(tmp_path, name):
    scenario = Scenario.load(f"scenarios/{name}.toml")
    (tmp_path / "resolved.json").write_text(to_text(scenario.resolved()))
    again = Scenario.load(tmp_path / "resolved.json")
    assert again.resolved()["scenario"] == scenario.resolved()["scenario"]
    number = '{"format": "adose-resolved-1", "scenario": {"search": {"tolerance": NaN}}}'
    (tmp_path / "resolved.json").write_text(number)
    with pytest.raises(ScenarioError, match="finite"):
        Scenario.load(tmp_path / "resolved.json")
