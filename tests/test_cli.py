"""The command line, run in this process: what it prints, what it writes, and what it says of mistakes."""

import inspect
import json
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch
from rich.console import Console

from prune_env import __version__, cli, load_pruned, make_target
from prune_env.agents.saved import read_description
from prune_env.agents.train import ENV_OPTIONS as TRAIN_OPTIONS
from prune_env.agents.train import train_agent
from prune_env.agents.tune import tune_agent
from prune_env.benchmark import compare
from prune_env.benchmark.video import video as make_video
from prune_env.cli import listing, shared
from prune_env.envs import SCHEDULES

cli_main = import_module("prune_env.cli.main")
NOT_ON_THE_COMMAND_LINE = {"callbacks", "callback_after_eval", "progress", "trackers", "eval_every", "eval_episodes"}
cli_bench, cli_train = (import_module(f"prune_env.cli.{name}") for name in ("bench", "train"))
ENV_OPTIONS = import_module("prune_env.benchmark.compare").ENV_OPTIONS
COMMANDS = (
    "list",
    "prune",
    "latency",
    "groups",
    "sensitivity",
    "pretrain",
    "train",
    "tune",
    "eval",
    "bench",
    "report",
    "video",
    "demo",
    "reproduce",
)
NETWORK = ["hidden_layers=1", "learning_rate=0.01", "dense_steps=60", "steps_per_round=2"]
CONTEST = ["--budgets", "0.5", "--networks", "2", "--jobs", "1", "-s", *NETWORK]


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run a command line in an empty folder; returns exit status, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["prune-env", *map(str, arguments)])
        capsys.readouterr()
        try:
            cli.main()
            status = 0
        except SystemExit as end:
            status = end.code or 0
        return status, *capsys.readouterr()

    return call


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of an agent that the command line trained for the fewest steps there are."""
    folder = tmp_path_factory.mktemp("cli") / "ppo"
    command = ["prune-env", "train", "ppo", "--out", folder, "--timesteps", 64, "--n-envs", 1, "--pool", 2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [*map(str, command), "--budget", "0.3", "0.7", "-s", *NETWORK])
        cli.main()
    return folder


def flat(text):
    """Without the line breaks and frames that a narrow terminal brings."""
    return " ".join("".join(" " if c in "│╭╮╰╯─━┃\n" else c for c in text).split())


# ---------------------------------------------------------------------- help
def test_the_installed_command_shows_its_help():
    command = Path(sys.executable).parent / "prune-env"  # not everybody has the environment on the path
    finished = subprocess.run([command, "--help"], capture_output=True, text=True, timeout=60, check=True)
    assert all(f"• {command}" in finished.stdout for command in COMMANDS)


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("list", []),
        ("groups", ["--set"]),
        ("train", ["--env", "--out", "--timesteps", "--pool", "--rounds", "--budget", "--n-envs", "--seed", "--set"]),
        ("tune", ["--trials", "--storage", "--study", "--pruner", "--timesteps", "--hyperparameters", "--set"]),
        ("eval", ["--env", "--out", "--networks", "--seeds", "--rounds", "--jobs", "--set"]),
        (
            "bench",
            ["--policies", "--env", "--out", "--budgets", "--networks", "--seeds", "--rounds", "--jobs", "--set"],
        ),
        ("report", []),
        ("demo", ["--out", "--timesteps", "--networks"]),
    ],
)
def test_every_command_explains_itself_and_its_options(run, command, options):
    status, out, _ = run(command, "--help")
    assert status == 0 and f"prune-env {command}" in out
    assert set(options) <= set(re.findall(r"--[a-z-]+", out))


# ---------------------------------------------------------------------- looking
def test_list_names_everything_there_is(run):
    status, out, _ = run("list")
    assert status == 0
    for name in (
        "PruneEnv/AutoencoderMNIST-v0",
        "autoencoder",
        "global-fisher",
        "random-search",
        "ppo",
        "vector",
        "taylor",
    ):
        assert name in flat(out)


def test_version(run):
    assert run("--version") == (0, f"prune-env {__version__}\n", "")


def _of_a_test(entry):
    return getattr(entry, "__module__", "").startswith("test_")


@pytest.mark.parametrize("name", listing.SETS)
def test_list_of_one_set_has_a_line_for_every_entry(run, name):
    status, out, _ = run("list", name)
    assert status == 0
    lines = listing._lines(name, listing.SETS[name]())
    assert {title.partition(":")[0] for title, _ in lines} == set(listing.SETS[name]())
    entries = listing.SETS[name]()  # among which other tests may have left some without a docstring
    said = [line for title, line in lines if not _of_a_test(entries[title.partition(":")[0]])]
    assert all(said) and all(flat(line).split()[0] in flat(out) for line in said)


def test_list_shows_the_options_of_policies(run):
    assert "random-search:evaluations=48" in flat(run("list", "policies")[1])
    assert "floor:retained=0.9" in flat(run("list", "objectives")[1])


def test_list_shows_what_users_register(run, monkeypatch):
    monkeypatch.setitem(SCHEDULES, "late", lambda progress, budget: 1.0)
    assert "late" in flat(run("list")[1]) and "late" in flat(run("list", "schedules")[1])


def test_the_command_line_and_python_have_the_same_defaults():
    command, function = (inspect.signature(f).parameters for f in (cli_bench.bench, compare))
    for name in ("env", "budgets", "networks", "seeds"):
        assert command[name].default == function[name].default
    assert str(command["out"].default) == function["out"].default
    assert {"rounds": command["rounds"].default} == ENV_OPTIONS
    trains = inspect.signature(cli_train.train).parameters
    assert {name: trains[name].default for name in ("pool", "rounds")} | {"budget": list(trains["budget"].default)} == (
        TRAIN_OPTIONS
    )
    assert {name: trains[name].default for name in ("timesteps", "n_envs", "seed")} == {
        name: inspect.signature(train_agent).parameters[name].default for name in ("timesteps", "n_envs", "seed")
    }


@pytest.mark.parametrize(
    ("command", "function"), [("train", train_agent), ("tune", tune_agent), ("bench", compare), ("video", make_video)]
)
def test_arguments_of_one_name_have_one_default(command, function):
    """`jobs` differs on purpose: a script must guard its main module before it starts processes."""
    theirs, ours = (inspect.signature(f).parameters for f in (function, cli_main.COMMANDS[command]))
    shared_names = set(theirs) & set(ours) - {"jobs", "policies", "policy", "algo", "out"}
    assert len(shared_names) >= 2
    for name in shared_names:
        if (default := theirs[name].default) is not inspect.Parameter.empty:
            assert ours[name].default == default, name
    pool = {name: ours[name].default for name in ("pool", "rounds", "budget") if name in ours}
    if command in ("train", "tune"):
        assert pool | {"budget": list(pool["budget"])} == TRAIN_OPTIONS
        assert set(theirs) - set(ours) <= NOT_ON_THE_COMMAND_LINE | {"env_id", "env_options", "hyperparams"}


def test_names_are_shown_as_they_are(run, monkeypatch):
    monkeypatch.setattr("prune_env.cli.shared.console", Console(width=200))
    monkeypatch.setattr("prune_env.cli.listing.console", Console(width=200))
    monkeypatch.setitem(SCHEDULES, "[red]late[/red] [/x]", lambda progress, budget: 1.0)
    for arguments in (["list"], ["list", "schedules"]):
        status, out, _ = run(*arguments)
        assert status == 0 and "[red]late[/red] [/x]" in out
    shared.print_rows([{"label": "[bold]a", "score": 1.0}])
    shared.say("[x] [/y]")


def test_what_a_terminal_would_obey_is_written_out(run):
    _, _, err = run("bench", "--env", "\x1b[31mred")
    assert "\x1b" not in err


def test_groups_shows_what_is_removed_together_and_what_is_locked(run, monkeypatch):
    monkeypatch.setattr("prune_env.cli.groups.console", Console(width=160))
    status, out, _ = run("groups", "autoencoder", "-s", "latent_dim=4", "hidden_layers=1")
    assert status == 0
    lines = {line.split()[0]: line.split() for line in out.splitlines() if line.strip()}
    assert lines["encoder.0"][1:4] == ["component", "encoder", "34"]
    assert lines["encoder.3"][1:5] == ["coupling", "encoder,", "decoder", "4"]
    assert "decoder.3 locked decoder 64 it is an output of the network" in " ".join(out.split())


def test_options_are_kept_whether_given_together_or_apart(run):
    together = run("groups", "autoencoder", "-s", "latent_dim=4", "hidden_layers=1")
    apart = run("groups", "autoencoder", "-s", "latent_dim=4", "--set", "hidden_layers=1")
    assert together == apart and "decoder.6" not in together[1]


@pytest.mark.parametrize(
    ("options", "parsed"),
    [
        ([], {}),
        ([["a=1", "b=0.5"], ["c=text"]], {"a": 1, "b": 0.5, "c": "text"}),
        ([["budget=[0.3, 0.7]", "x=null", "y=true"]], {"budget": [0.3, 0.7], "x": None, "y": True}),
        ([["formula=a=b"]], {"formula": "a=b"}),
        ([["a=1"], ["a=2"]], {"a": 2}),
        ([["rate=1e-3", "name=e", "day='2020-01-01'"]], {"rate": 0.001, "name": "e", "day": "2020-01-01"}),
    ],
)
def test_values_are_read_as_yaml(options, parsed):
    assert shared.parse_options(options) == parsed


@pytest.mark.parametrize("option", ["latent_dim", "=3", "2x=3", "a b=3"])
def test_what_is_no_pair_is_named(run, option):
    status, _, err = run("groups", "autoencoder", "-s", option)
    assert status == 2 and err == f"prune-env: an option is KEY=VALUE, e.g. latent_dim=8; got {option!r}\n"


# ---------------------------------------------------------------------- doing
def test_train_writes_an_agent_and_says_what_to_do_with_it(trained, run):
    made_by = read_description(trained / "model.zip")["made_by"]
    assert made_by["timesteps"] == 64 and made_by["env_options"]["budget"] == [0.3, 0.7]
    assert made_by["env_options"]["dense_steps"] == 60 and made_by["env_options"]["learning_rate"] == 0.01
    # the same command again: it is done already
    arguments = ["--out", trained, "--timesteps", 64, "--n-envs", 1, "--pool", 2, "--budget", 0.3, 0.7, "-s", *NETWORK]
    status, out, _ = run("train", "ppo", *arguments)
    assert status == 0
    assert f"agent: {trained}/model.zip" in out and "prune-env bench" in out


def test_train_takes_hyperparameters_and_their_file(run, tmp_path):
    (tmp_path / "best.yaml").write_text("n_steps: 8\nbatch_size: 8\nn_envs: 1\ngamma: 0.5\n")
    arguments = ["--out", "ppo", "--timesteps", 10, "--pool", 2, "--budget", 0.5, "-s", *NETWORK]
    status, _, err = run(
        "train", "ppo", "-p", "@best.yaml", "gamma=0.9", "--hyperparameters", "ent_coef=1e-3", *arguments
    )
    assert status == 0, err
    made_by = read_description(tmp_path / "ppo" / "model.zip")["made_by"]
    assert made_by["hyperparams"]["gamma"] == 0.9 and made_by["hyperparams"]["ent_coef"] == 0.001
    assert made_by["timesteps"] == 16 and made_by["n_envs"] == 1


def test_tune_finds_hyperparameters_that_train_takes(run, tmp_path):
    shared_arguments = ["--n-envs", 1, "--pool", 1, "--budget", 0.5, "-s", *NETWORK]
    fixed = ["-p", "n_steps=8", "batch_size=8", "n_epochs=1"]
    study = [
        "--trials",
        2,
        "--timesteps",
        16,
        "--eval-every",
        8,
        "--eval-episodes",
        2,
        "--storage",
        "sqlite:///tune.db",
    ]
    status, out, err = run("tune", "ppo", *study, *fixed, *shared_arguments)
    assert status == 0, err
    assert "trial 0: complete, mean return" in out and "trial 1: complete" in out
    assert "best hyperparameters: runs/tune/ppo/best.yaml" in out and "-p @runs/tune/ppo/best.yaml" in out
    status, _, err = run(
        "train", "ppo", "-p", "@runs/tune/ppo/best.yaml", "--timesteps", 8, "--out", "ppo", *shared_arguments
    )
    assert status == 0, err
    made_by = read_description(tmp_path / "ppo" / "model.zip")["made_by"]
    assert f"learning_rate: {made_by['hyperparams']['learning_rate']}" in Path("runs/tune/ppo/best.yaml").read_text()
    status, out, err = run("tune", "ppo", *study, *fixed, *shared_arguments)  # nothing is left to do
    assert status == 0 and "trial" not in out.partition("best hyper")[0]
    status, _, err = run("tune", "ppo", *study, "-p", "n_steps=16", *shared_arguments)
    assert status == 2 and "'n_steps': 8} there, {'n_steps': 16} here" in err and "choose another study" in err


def test_a_name_that_target_and_algorithm_share_is_pointed_out(trained, run):
    status, _, err = run("train", "ppo", "--out", trained, "--n-envs", 1, "--seed", 7, "-s", "learning_rate=0.01")
    assert status == 2  # the folder is of another run
    assert err.startswith("note: --set learning_rate is an option of the target or environment; the hyperparameter of")
    assert run("train", "ppo", "--out", trained, "--seed", 7, "-s", "dense_steps=60")[2].count("\n") == 1


def test_train_refuses_the_folder_of_another_run(trained, run):
    status, _, err = run("train", "ppo", "--out", trained, "--n-envs", 1, "--seed", 7)
    assert status == 2 and len(err.splitlines()) == 1 and str(trained) in err and "another configuration" in err


def test_eval_writes_records_beside_the_model(trained, run):
    status, out, _ = run("eval", trained / "model.zip", "--networks", 1, "--jobs", 1, "-s", *NETWORK)
    assert status == 0
    records = [json.loads(line) for line in (trained / "eval" / "records.jsonl").read_text().splitlines()]
    assert {(r["kind"], r["policy"], r["learned"]) for r in records} == {("result", "ppo", True)}
    assert sorted(r["budget"] for r in records) == [0.3, 0.5, 0.7]
    assert "ppo" in out and (trained / "eval" / "index.html").is_file() and "index.html" in out


def test_eval_and_video_use_what_the_agent_was_trained_on(trained, monkeypatch, run):
    """Environment, target's options and rounds; not its pool, budget or device."""
    asked = {}

    def compared(policies, env, **arguments):
        asked["eval"] = env, arguments["env_options"]
        raise ValueError("enough")

    def filmed(policy, env, out, **arguments):
        asked["video"] = env, arguments["env_options"]

    monkeypatch.setattr("prune_env.benchmark.compare", compared)
    monkeypatch.setattr("prune_env.benchmark.video.video", filmed)
    model = trained / "model.zip"
    expected = {"rounds": 1, "hidden_layers": 1, "learning_rate": 0.01, "dense_steps": 60, "steps_per_round": 2}
    run("eval", model)
    run("video", model)
    assert asked == {"eval": (cli_bench.ENV, expected), "video": (cli_bench.ENV, expected)}
    run("eval", model, "--rounds", 3, "-s", "dense_steps=70", "--out", "x")
    assert asked["eval"][1] == {**expected, "rounds": 3, "dense_steps": 70}
    run("eval", model, "--env", "PruneEnv/AutoencoderMNIST-v0")
    assert asked["eval"] == ("PruneEnv/AutoencoderMNIST-v0", {"rounds": 1})


def test_a_folder_that_cannot_be_written_is_named_before_the_work(run, tmp_path):
    (tmp_path / "file").write_text("")
    for command in (["bench"], ["train", "ppo"], ["pretrain", "simple"], ["demo"], ["reproduce", "table1"]):
        status, _, err = run(*command, "--out", "file/x")
        assert (status, err) == (2, "prune-env: cannot write into file/x: file is a file; choose another folder\n")
    status, _, err = run("video", "uniform", "--out", "x.mp4")
    assert status == 2 and "--out must be the path of a GIF" in err


def test_eval_of_a_policy_by_name_has_a_folder_of_its_own(run, tmp_path):
    status, _, _ = run("eval", "uniform", "--networks", 1, "--jobs", 1, "-s", *NETWORK)
    assert status == 0 and (tmp_path / "runs" / "eval" / "uniform" / "records.jsonl").is_file()


def test_bench_lets_policies_compete_and_report_needs_only_its_files(trained, run, tmp_path):
    policies = ["--policies", "none", "uniform", "global-fisher", trained / "model.zip"]
    status, out, _ = run("bench", *policies, "--out", "duel", *CONTEST)
    assert status == 0
    folder = tmp_path / "duel"
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    assert sorted(r["policy"] for r in records) == sorted(["none", "uniform", "global-fisher", "ppo"] * 2)
    assert {r["budget"] for r in records} == {0.5}
    assert all(name in out for name in ("uniform", "global-fisher", "ppo"))
    command = (folder / "command.txt").read_text()
    assert shlex.split(command)[:3] == ["prune-env", "bench", "--policies"] and str(trained) in command

    for path in folder.iterdir():  # a report is made from records alone
        if path.suffix in (".html", ".png", ".svg", ".pdf"):
            path.unlink()
    status, out, _ = run("report", "duel")
    assert status == 0 and "uniform" in out and "page: duel/index.html" in out
    assert "uniform" in (folder / "index.html").read_text()

    status, _, _ = run("bench", *policies, "--out", "duel", *CONTEST)  # again: nothing is left to do
    assert status == 0 and len((folder / "records.jsonl").read_text().splitlines()) == 8


# ---------------------------------------------------------------------- mistakes
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["list", "policy"], "unknown set 'policy'; did you mean 'policies'?"),
        (["groups", "autoencoder", "-s", "latent_dim=[1"], "the value of latent_dim is not YAML"),
        (["groups", "autoencoder", "-s", "latent_dim=2020-01-01"], "'2020-01-01' is date 2020-01-01"),
        (["groups", "autoencoder", "-s", "latent_dim=.nan"], "the value of latent_dim must be numbers, words"),
        (["train", "ppo", "--timesteps", "0"], "--timesteps must be a whole number in [1, inf), got 0"),
        (["train", "ppo", "--timesteps", "-5"], "--timesteps must be a whole number in [1, inf), got -5"),
        (["train", "ppo", "--n-envs", "0"], "--n-envs must be a whole number in [1, inf), got 0"),
        (["train", "ppo", "--pool", "0"], "--pool must be a whole number in [1, inf), got 0"),
        (["train", "ppo", "--device", "abacus"], "device 'abacus' cannot be used here"),
        (["pretrain", "simple", "--pool", "0"], "--pool must be a whole number in [1, inf), got 0"),
        (["pretrain", "simple", "--seeds", "1", "-1"], "--seeds must be a whole number in [0, inf), got -1"),
        (["pretrain", "simple", "--jobs", "0", "--pool", "1"], "--jobs must be a whole number in [1, inf), got 0"),
        (["pretrain", "simple", "--engine", "slurm://x:1"], "unknown engine 'slurm'"),
        (["bench", "--engine", "dask://x"], 'an engine is "local" or "dask://HOST:PORT"'),
        (["bench", "--networks", "0"], "--networks must be a whole number in [1, inf), got 0"),
        (["bench", "--env", "foo bar"], "unknown environment 'foo bar'"),
        (["bench", "--env", "CartPole-v1"], "CartPole-v1 is no pruning environment (known: PruneEnv/Autoencoder-v0"),
        (["demo", "--timesteps", "0"], "--timesteps must be a whole number in [1, inf), got 0"),
        (["reproduce", "table1", "--jobs", "-1"], "--jobs must be a whole number in [1, inf), got -1"),
        (
            ["reproduce", "table1", "--rewrite", "--quick"],
            "--rewrite keeps the setting of the results in --out; give it names and --out only",
        ),
        (["reproduce", "table1", "--rewrite", "--out", "nowhere"], "table1 cannot be written again"),
        (
            ["reproduce", "table1", "--controller", "paper"],
            "--controller paper goes with the study sparsity-reward alone",
        ),
        (
            ["reproduce", "sparsity-reward", "--controller", "paper", "--methods", "l3"],
            "unknown method 'l3'; known: depgra",
        ),
        (
            ["reproduce", "sparsity-reward", "--controller", "paper", "--episodes", "0"],
            "--episodes must be a whole number",
        ),
        (["groups", "autoencodr"], "unknown target 'autoencodr'; did you mean 'autoencoder'? (known: autoencoder"),
        (["groups", "autoencoder", "-s", "latent=3"], "unknown option 'latent'; did you mean 'latent_dim'?"),
        (["groups", "autoencoder", "-s", "data=cifar"], "unknown data 'cifar'; known data: digits, mnist"),
        (["train", "ppo", "-p", "learning_rat=1"], "unknown option 'learning_rat'; did you mean 'learning_rate'?"),
        (["train", "ppo", "-p", "learning_rate=fast"], "ppo's learning_rate must be a number or a schedule lin_NUMBER"),
        (["train", "ppo", "-p", "learning_rate"], "an option is KEY=VALUE"),
        (["train", "ppo", "-p", "@nowhere.yaml"], "nowhere.yaml"),
        (["train", "ppo", "-p", "@/"], "directory"),
        (["train", "ppo", "-s", "learning_rat=0.01"], "unknown option 'learning_rat'; did you mean 'learning_rate'?"),
        (["train", "ppo", "--track", "wand"], "unknown tracker 'wand'; did you mean 'wandb'?"),
        (["train", "reinforce"], "unknown algorithm 'reinforce' (known: ppo"),
        (["train", "ppo", "--env", "PruneEnv/Autoencodr-v0"], "did you mean 'PruneEnv/Autoencoder-v0'?"),
        (["train", "ppo", "--budget", "1.5", "--n-envs", "1"], "a budget is a sparsity in (0, 1)"),
        (["train", "ppo", "--rounds", "0"], "--rounds must be a whole number in [1, inf), got 0"),
        (["bench", "--policies", "fischer"], "unknown policy 'fischer'; did you mean 'fisher'? (known: "),
        (["bench", "--policies", "uniform", "--env", "Autoencoder-v0"], "Autoencoder"),
        (["bench", "--policies", "uniform", "--budgets", "0.5", "1.5"], "a budget is a sparsity in (0, 1); got 1.5"),
        (
            ["bench", "--policies", "uniform", "-s", "objective=area2"],
            "unknown objective 'area2'; did you mean 'area'? (known: area",
        ),
        (["bench", "--policies", "uniform", "-s", "pool=3"], "pool"),
        (["eval", "nowhere/model.zip"], "no file 'nowhere/model.zip'"),
        (["report", "nowhere"], "no benchmark records at nowhere/records.jsonl"),
    ],
)
def test_a_mistake_is_one_line_on_standard_error_and_status_2(run, tmp_path, arguments, said):
    status, _, err = run(*arguments)
    assert status == 2
    assert err.startswith("prune-env: ") and said in err and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []  # and nothing is left behind


@pytest.mark.parametrize(
    "arguments", [[], ["prune"], ["groups"], ["bench", "--budgets", "half"], ["train", "ppo", "--x", "1"]]
)
def test_a_command_line_that_cannot_be_read_is_status_2(run, arguments):
    status, out, err = run(*arguments)
    assert status == 2 and "Traceback" not in out + err and "prune-env" in out + err


def test_a_wrong_environment_is_named_before_the_folder_of_another_run(trained, run):
    status, _, err = run("train", "ppo", "--out", trained, "--env", "PruneEnv/Autoencodr-v0")
    assert status == 2 and "did you mean 'PruneEnv/Autoencoder-v0'?" in err


def test_what_is_wrong_with_the_program_itself_says_so_in_the_last_line(run, monkeypatch):
    def broken(*args, **options):
        raise KeyError("width")

    monkeypatch.setattr("prune_env.cli.groups.make_target", broken)
    status, _, err = run("groups", "autoencoder")
    assert status == 1 and "Traceback" in err
    assert err.splitlines()[-1].startswith("prune-env: internal error (KeyError: 'width'); please report it: https://")


def test_bench_with_failures_says_so_and_has_status_1(run):
    arguments = ["--budgets", "0.5", "0.99999", "--networks", 1, "--jobs", 1, "-s", *NETWORK]
    status, _, err = run("bench", "--policies", "uniform", "--out", "duel", *arguments)
    last = err.splitlines()[-1]
    assert status == 1 and last.startswith("prune-env: 1 of 2 episodes failed, first uniform: ValueError: ")
    assert "budget 0.99999 cannot be reached" in last and "duel/records.jsonl" in last
    assert Path("duel/index.html").is_file()
    status, _, err = run("bench", "--policies", "uniform", "--out", "none", "--budgets", "0.99999", *arguments[3:])
    assert status == 1 and "prune-env: 1 of 1 episodes failed" in err


def test_an_interrupt_says_how_to_go_on(run, monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("prune_env.cli.groups.make_target", interrupted)
    status, _, err = run("groups", "autoencoder")
    assert status == 130 and "run the same command again" in err


# ---------------------------------------------------------------------- pretrain, video
def test_pretrain_trains_several_seeds_logs_them_and_finds_them_again(run, tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "cache"))
    sizes = [
        "width=8",
        "latent_dim=4",
        "encoder_width=8",
        "batch_size=8",
        "dense_steps=20",
        "eval_every=10",
        "starts=2",
    ]
    command = ["pretrain", "tdmpc", "--seeds", 3, 4, "--jobs", 1, "-s", *sizes]
    status, out, _ = run(*command)
    assert status == 0 and "step 20 of 20" in out and "learning curves: runs/pretrain/curves.png" in out
    assert Path("runs/pretrain/curves.png").stat().st_size > 10_000
    rows = json.loads(Path("runs/pretrain/results.json").read_text())
    assert [row["seed"] for row in rows] == [3, 4]
    for row in rows:
        folder = Path("runs/pretrain") / f"seed={row['seed']}"
        assert json.loads((folder / "result.json").read_text()) == row
        assert {path.suffix for path in folder.iterdir()} >= {".safetensors", ".json"}
        assert list(folder.glob("events.out.tfevents.*"))
    status, out, _ = run(*command)
    assert status == 0 and out.count("already there") == 2
    assert json.loads(Path("runs/pretrain/results.json").read_text()) == rows


def test_film_shows_the_network_before_and_after(run):
    from PIL import Image

    status, out, _ = run("video", "uniform", "--env", "PruneEnv/Autoencoder-v0", "--out", "a.gif", "-s", *NETWORK)
    assert status == 0 and "a.gif" in out
    with Image.open("a.gif") as picture:
        assert picture.size == (8 * 8 * 6, 2 * (2 * 8 * 6 + 22))  # eight digits above their reconstructions, twice


def test_film_of_a_controller_moves(run):
    quick = ["starts=3", "steps_per_round=0"]
    status, _, _ = run("video", "uniform", "--out", "b.gif", "-s", *quick, 'planner={"samples": 8, "elites": 2}')
    assert status == 0
    from PIL import Image

    with Image.open("b.gif") as picture:
        assert picture.n_frames > 30


def test_sensitivity_leaves_a_table_and_a_plot(run, tmp_path):
    command = ["sensitivity", "autoencoder", "--points", "1", "--networks", "2", "-s", *NETWORK]
    status, out, _ = run(*command)
    assert status == 0 and "8 trial cuts" in out and "encoder.0" in out
    written = sorted(path.name for path in (tmp_path / "runs/sensitivity/autoencoder").iterdir())
    assert written == [f"sensitivity.{end}" for end in ("csv", "md", "png", "svg")]
    status, _, error = run("sensitivity", "autoencodr")
    assert status == 2 and "autoencoder" in error


OWN = """
import torch
from torch import nn
import prune_env

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(4, 16), nn.Linear(16, 2)

    def forward(self, x):
        return self.head(self.body(x).relu())

def target():
    torch.manual_seed(0)
    return prune_env.ModuleTarget(Net(), example=torch.zeros(1, 4), score=lambda model: 1.0, floor=0.0)

nothing = 3
"""


def test_prune_leaves_a_network_to_load_and_a_page(run, tmp_path):
    arguments = ("--budget", "0.5", "--policy", "uniform", "--steps", "2", "-s", "dense_steps=60", "width=8")
    status, printed, _ = run("prune", "simple", *arguments, "--out", "small")
    assert status == 0 and "of the parameters removed by uniform" in printed and "load_pruned('small'" in printed
    model = make_target("simple", dense_steps=60, width=8).build(torch.Generator().manual_seed(0))
    before = sum(p.numel() for p in model.parameters())
    assert sum(p.numel() for p in load_pruned("small", model=model).parameters()) <= 0.5 * before
    assert "<h1>" in (tmp_path / "small" / "index.html").read_text()


def test_prune_and_latency_take_ones_own_network_from_a_file(run, tmp_path):
    (tmp_path / "mine.py").write_text(OWN)
    status, printed, _ = run("prune", "mine.py:target", "--budget", "0.4", "--out", "mine", "--onnx")
    assert status == 0 and "body" in printed and (tmp_path / "mine" / "model.onnx").is_file()
    status, printed, _ = run("latency", "mine.py:target", "--out", "times.csv")
    assert status == 0 and "dense, measured" in flat(printed)
    assert (tmp_path / "times.csv").read_text().startswith("body,measured_us,predicted_us\n16,")
    for subject, said in (("mine.py:nothing", "got 3"), ("other.py:x", "no file 'other.py'"), ("no", "unknown target")):
        status, _, wrong = run("prune", subject, "--budget", "0.4")
        assert status == 2 and said in wrong


def test_tune_chooses_the_temperature_of_a_heuristic(run):
    arguments = ["--pool", 1, "--trials", 2, "--budget", "0.5", "-s", *NETWORK]
    status, out, _ = run("tune", "gradient", *arguments)
    assert status == 0 and "best temperature: runs/tune/gradient/best.yaml" in out and "temperature: " in out
    assert "--policies gradient gradient:@runs/tune/gradient/best.yaml" in out
    status, _, error = run("tune", "uniform", *arguments)
    assert status == 2 and "no temperature to tune" in error
