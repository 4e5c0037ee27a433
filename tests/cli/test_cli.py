"""The shell: what it prints, its exit codes, and errors in one line."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest

import jko
from jko import cli
from jko.verify import report

WIDTH = 100


def run(capsys, *argv):
    """Exit code, stdout and stderr of a command line."""
    code = cli.main(argv)
    out, err = capsys.readouterr()
    return code, out, err


def one_line_error(capsys, *argv):
    """The message of a command line that must fail with one line and exit code 2."""
    code, out, err = run(capsys, *argv)
    assert code == 2
    assert out == ""
    assert err.startswith("jko: ")
    assert err.count("\n") == 1
    return err


def shell(*argv, **options):
    """`python -m jko` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "jko", *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.fixture
def demos(tmp_path, monkeypatch):
    """A folder of demos: a good one, and ones that fail in every way."""
    for name, body in {
        "good": '"""A good demo.\n\nMore."""\ndef main(argv):\n    print("got", *argv)\n',
        "poor": '"""Needs much."""\nimport a_package_nobody_has\n',
        "sick": '"""A wrong call."""\nimport jko\ndef main(argv):\n    jko.Particles([1.0])\n',
        "lost": '"""A lost file."""\ndef main(argv):\n    open("/nowhere/at all.csv")\n',
        "_help": "",
    }.items():
        (tmp_path / f"{name}.py").write_text(body)
    monkeypatch.setattr(cli, "demo_folder", lambda: tmp_path)


# -- verify --------------------------------------------------------------------------------------


def test_verify_prints_the_table(capsys):
    code, out, err = run(capsys, "verify", "chord-arc", "erratum-3-halves")
    assert (code, err) == (0, "")
    head, first, second, verdict = out.splitlines()
    assert head.split() == ["name", "residual", "tolerance", "statement"]
    assert first.startswith("chord-arc")
    assert second.startswith("erratum-3-halves")
    assert "holds" in first
    assert verdict == "all 2 identities hold"


def test_verify_exits_1_when_an_identity_fails(capsys, monkeypatch):
    wrong = jko.verify.Identity("x", "1 = 2", 1.0, 2.0, 1.0, 1e-9)
    monkeypatch.setitem(report.CHECKS, "chord-arc", lambda: wrong)
    code, out, err = run(capsys, "verify", "chord-arc")
    assert (code, err) == (1, "")
    assert "FAILS" in out
    assert "1 of 1 identities FAIL" in out


def test_verify_json(capsys, monkeypatch):
    def broken():
        raise jko.Unsupported("no")

    monkeypatch.setitem(report.CHECKS, "force-norm", broken)
    code, out, _ = run(capsys, "verify", "chord-arc", "force-norm", "--json")
    assert code == 1
    good, bad = json.loads(out, parse_constant=lambda c: pytest.fail(f"{c} is no JSON"))
    assert set(good) == {"name", "statement", "lhs", "rhs", "residual", "tolerance", "holds"}
    assert good["holds"]
    assert good["residual"] <= good["tolerance"]
    assert not bad["holds"]
    assert bad["residual"] is None


def test_verify_lists_names(capsys):
    code, out, _ = run(capsys, "verify", "--list")
    assert code == 0
    assert tuple(out.split()) == jko.verify.names()
    assert run(capsys, "verify", "--list", "erratum-*")[1].count("\n") == 5


def test_verify_unknown_name(capsys):
    assert "nearest: chord-arc" in one_line_error(capsys, "verify", "cord-arc")


# -- list ----------------------------------------------------------------------------------------


def test_list_is_readable(capsys):
    code, out, err = run(capsys, "list")
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= WIDTH
    for word in ("GridDensity", "Histogram", "Particles", "Gaussian", "Wasserstein", "Refusals"):
        assert word in out
    assert "ClosedForm: minimum; exact" in out


def test_list_agrees_with_the_selection(capsys):
    """The table's order of solvers is what `jko.solvers_for` returns."""
    out = run(capsys, "list", "--energy", "KL", "--measure", "histogram", "--json")[1]
    rows = {row["geometry"]: row for row in json.loads(out)}
    x = jko.Histogram([[0.0], [1.0]], [0.4, 0.6])
    energy = jko.KL(x.with_weights([0.5, 0.5]))
    for name, geometry in (
        ("Hellinger", jko.Hellinger()),
        ("SphericalHellinger", jko.SphericalHellinger()),
        ("Wasserstein", jko.Wasserstein()),
    ):
        expected = {
            s.name: f"{s.claim.noun}; {s.guarantee}" for s in jko.solvers_for(x, energy, geometry)
        }
        assert list(rows[name]["solvers"].items()) == list(expected.items())
        assert set(rows[name]["solvers"]).isdisjoint(rows[name]["refusals"])


def test_list_in_words_gives_the_reason_for_a_refusal(capsys):
    code, out, _ = run(capsys, "list", "--measure", "gaussian", "--geometry", "wasserstein")
    assert code == 0
    assert "KL: Bures" in out
    assert re.search(r"no solver\. Bures.*: the energy must be", " ".join(out.split()))
    assert max(map(len, out.splitlines())) <= WIDTH


def test_list_reasons_names_every_solver(capsys):
    step = ("--energy", "Potential", "--geometry", "Hellinger", "--measure", "Histogram")
    out = run(capsys, "list", *step, "--reasons")[1]
    for solver in jko.solvers.auto.AUTO:
        assert solver.name in out


def test_list_unknown_filter(capsys):
    message = one_line_error(capsys, "list", "--geometry", "Euclid")
    assert "Euclid" in message
    assert "Wasserstein" in message


# -- demo ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("demos")
@pytest.mark.parametrize("argv", [["demo"], ["demo", "--list"]])
def test_demos_are_listed_with_their_first_line(capsys, argv):
    code, out, _ = run(capsys, *argv)
    assert code == 0
    assert out.splitlines() == [
        "good  A good demo.",
        "lost  A lost file.",
        "poor  Needs much.",
        "sick  A wrong call.",
    ]


@pytest.mark.usefixtures("demos")
def test_a_demo_gets_its_options(capsys):
    assert run(capsys, "demo", "good", "--eta", "0.2", "-h") == (0, "got --eta 0.2 -h\n", "")


@pytest.mark.usefixtures("demos")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("god", "there is no demo named 'god'; nearest: good"),
        ("poor", "demo poor needs a_package_nobody_has, which is not installed"),
        ("sick", "points"),
        ("lost", "/nowhere/at all.csv"),
    ],
)
def test_a_demo_that_fails_says_so_in_one_line(capsys, name, message):
    assert message in one_line_error(capsys, "demo", name)


def test_the_demos_of_the_repository_are_found(capsys):
    code, out, _ = run(capsys, "demo")
    assert code == 0
    assert "ift" in out
    for line in out.splitlines():
        assert len(line.split(maxsplit=1)) == 2, f"{line}: a demo says what it shows"


# -- the shell itself ----------------------------------------------------------------------------


@pytest.mark.parametrize("argv", [["verfy"], ["list", "--colour"], ["demo", "--colour"]])
def test_wrong_usage_is_one_line(capsys, argv):
    assert "--help" in one_line_error(capsys, *argv)


@pytest.mark.parametrize("argv", [[], ["verify"], ["list"], ["demo"]])
def test_help(capsys, argv):
    with pytest.raises(SystemExit) as done:
        cli.main([*argv, "--help"])
    assert done.value.code == 0
    assert "usage: jko" in capsys.readouterr().out


def test_without_a_command_the_help_is_shown(capsys):
    code, out, _ = run(capsys)
    assert code == 0
    assert all(word in out for word in ("verify", "list", "demo"))


def test_module_and_version():
    process = shell("--version")
    out, err = process.communicate(timeout=500)
    assert (process.returncode, out, err) == (0, f"jko {jko.__version__}\n", "")


def test_errors_of_the_process():
    process = shell("verify", "nothing")
    out, err = process.communicate(timeout=500)
    assert (process.returncode, out) == (2, "")
    assert err.startswith("jko: there is no check named 'nothing'")
    assert err.count("\n") == 1


def test_a_closed_pipe_is_silent():
    with shell("list") as process:
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=500) == 141


@pytest.mark.skipif(os.name == "nt", reason="signals as on POSIX")
def test_interrupt_exits_130(tmp_path):
    code = (
        "import signal, sys, time, jko.cli as cli, pathlib\n"
        # Started in the background of a shell, a process inherits that Ctrl-C is ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"cli.demo_folder = lambda: pathlib.Path({str(tmp_path)!r})\n"
        "sys.exit(cli.main(['demo', 'slow']))\n"
    )
    body = 'def main(argv):\n    import time\n    print("ready", flush=True)\n    time.sleep(60)\n'
    (tmp_path / "slow.py").write_text(body)
    command = [sys.executable, "-c", code]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        err = process.stderr.read()
    assert process.returncode == 130
    assert err == "jko: interrupted\n"
