"""The workflows: secrets in one gated job, pinned systems, commands that exist."""

import re

import pytest
import yaml
from conftest import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.stem)
def workflow(request):
    return yaml.safe_load(request.param.read_text(encoding="utf-8"))


def test_there_are_a_test_and_a_release_workflow():
    assert {path.stem for path in WORKFLOWS} >= {"test", "release"}


def test_only_the_gated_job_sees_secrets(workflow):
    for name, job in workflow["jobs"].items():
        if "secrets." in str(job):
            assert name == "sign"
            assert job["environment"] == "release"


def test_every_job_is_bounded_and_permissions_are_least(workflow):
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        called = job.get("uses")  # a whole workflow, whose own jobs are bounded
        assert called == "./.github/workflows/test.yml" or job["timeout-minutes"] <= 90


def test_scripts_and_options_that_are_called_exist(workflow):
    import build

    known = {option for action in build.parser()._actions for option in action.option_strings}
    for job in workflow["jobs"].values():
        for step in job.get("steps", []):
            command = step.get("run", "")
            for script in re.findall(r"packaging/[a-z_]+\.(?:sh|py)", command):
                assert (ROOT / script).is_file(), script
            for line in command.splitlines():
                if "./run package" in line:
                    assert set(re.findall(r"(--[a-z-]+)", line)) <= known, line


def test_actions_are_pinned_and_leave_no_token_behind(workflow):
    steps = [step for job in workflow["jobs"].values() for step in job.get("steps", [])]
    for step in steps:
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step.get("uses", "a/b@" + 40 * "0"))
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_nothing_is_signed_before_every_test_has_passed():
    jobs = yaml.safe_load((WORKFLOWS[0].parent / "release.yml").read_text(encoding="utf-8"))["jobs"]
    assert set(jobs["sign"]["needs"]) == set(jobs) - {"sign"}


def test_both_supported_systems_are_tried():
    text = "".join(path.read_text(encoding="utf-8") for path in WORKFLOWS)
    assert "macos-15" in text
    assert "macos-26" in text
    assert "macos-latest" not in text


def test_readme_names_every_option():
    import build

    readme = (ROOT / "packaging" / "README.md").read_text(encoding="utf-8")
    for action in build.parser()._actions:
        for option in action.option_strings:
            assert option in {"-h", "--help"} or option in readme, option


def test_readme_says_what_to_expect_of_every_kernel():
    readme = (ROOT / "packaging" / "README.md").read_text(encoding="utf-8")
    cases = (ROOT / "mlx_gemma4" / "kernels" / "cases.py").read_text(encoding="utf-8")
    names = set(re.findall(r'Case\("(\w+)"', cases))
    assert len(names) >= 8
    for name in names:
        assert f"\n| {name}" in readme, name


def test_readme_checks_every_thing_that_only_a_mac_can_show():
    readme = (ROOT / "packaging" / "README.md").read_text(encoding="utf-8")
    subjects = re.findall(r"^\| ([\w ]+) \|", readme.partition("## To check on a Mac")[2], re.M)
    wanted = {"Metal", "speed", "camera", "microphone", "device order", "rotated video"}
    assert wanted | {"Gatekeeper", "M5 wheel", "start", "disk image"} <= set(subjects)
