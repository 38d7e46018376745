"""The command line as a user meets it."""

import io
import json
import re
import signal
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
import soundfile

from mlx_gemma4.cli import common, main
from mlx_gemma4.generate import Decoder, GenerateOptions, generate
from mlx_gemma4.inputs import ModelInputs
from mlx_gemma4.messages import Audio, Image, message
from mlx_gemma4.sampling import SamplingOptions

SHORT = ["--max-tokens", "6", "--temperature", "0"]


def python(code: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, **options
    )


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "a.png"
    PIL.Image.new("RGB", (60, 40), "red").save(path)
    return str(path)


@pytest.fixture
def sound(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.sin(np.arange(8000) / 9).astype(np.float32), 16_000)
    return str(path)


def expected(edge, said, **options) -> str:
    model, processor = edge
    options = GenerateOptions(max_tokens=6, sampling=SamplingOptions(temperature=0), **options)
    return generate(model, processor, processor.inputs(said), options).text


def test_help_needs_no_mlx():
    code = (
        "import sys\nfrom mlx_gemma4.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit as e: assert not e.code\n"
        "assert 'mlx.core' not in sys.modules"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert "examples:" in done.stdout
    for name in ("generate", "chat", "download"):
        assert re.search(rf"^  {name}  ", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("command", ["generate", "chat", "download"])
def test_help_of_commands_shows_examples(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert not end.value.code
    assert f"mlx-gemma4 {command}" in capsys.readouterr().out.partition("examples:")[2]


def test_generate_prints_the_answer(edge, edge_folder, capsys):
    code = main(["generate", "--model", str(edge_folder), "--prompt", "hi", *SHORT, "--stats"])
    out, err = capsys.readouterr()
    assert code == 0
    assert out == expected(edge, [message("user", "hi")]) + "\n"
    assert "tokens/s" in err


def test_media_keep_the_order_they_are_written_in(edge, edge_folder, picture, sound, capsys):
    files = ["--audio", sound, "--image", picture, picture, "--image-tokens", "70"]
    line = ["generate", "--model", str(edge_folder), "--prompt", "hi", *files, *SHORT]
    assert main(line) == 0
    said = message("user", Audio(sound), Image(picture, 70), Image(picture, 70), "hi")
    assert capsys.readouterr().out == expected(edge, [said]) + "\n"


def test_prompt_from_stdin_and_raw(edge, edge_folder, picture, monkeypatch, capsys):
    model, processor = edge
    options = GenerateOptions(max_tokens=6, sampling=SamplingOptions(temperature=0))
    for text, media in (("Once upon", []), ("see <|image|>", [picture]), ("seen", [picture])):
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        files = ["--image", *media, "--image-tokens", "70"] if media else []
        assert main(["generate", "--model", str(edge_folder), "--raw", *files, *SHORT]) == 0
        full = text if "<|image|>" in text or not media else f"<|image|>{text}"
        inputs = processor.raw(full, [Image(path, 70) for path in media])
        assert capsys.readouterr().out == generate(model, processor, inputs, options).text + "\n"


def test_schema_and_tools(edge_folder, tmp_path, capsys):
    schema = tmp_path / "schema.json"
    schema.write_text(
        '{"type": "object", "properties": {"a": {"type": "boolean"}}, '
        '"required": ["a"], "additionalProperties": false}'
    )
    line = ["generate", "--model", str(edge_folder), "--prompt", "hi", "--json-schema", str(schema)]
    assert main([*line, "--seed", "1"]) == 0
    assert isinstance(json.loads(capsys.readouterr().out)["a"], bool)
    assert main([*line, "--seed", "1", "--max-tokens", "1"]) == 1  # cut, so it is no JSON
    tools = tmp_path / "tools.py"
    tools.write_text('def now() -> str:\n    """Time."""\n    return "noon"\n')
    line = ["generate", "--model", str(edge_folder), "--prompt", "hi", "--tools", str(tools)]
    assert main([*line, "--think", *SHORT]) == 0


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["nonsense"], "no command"),
        (["generate", "--prompt", "x", "--max-tokens", "many"], "--max-tokens"),
        (["generate", "--prompt", "x", "--top-p", "7"], "top-p"),
        (["generate", "--prompt", "x", "--image", "/no/such.png"], "no file"),
        (["generate", "--prompt", "x", "--json-schema", "/no/such.json"], "schema"),
        (["generate", "--prompt", "x", "--model", "/no/such/folder"], "/no/such/folder"),
        (["generate", "--prompt", "  "], "no prompt"),
        (["generate", "--prompt", "x", "--raw", "--think"], "--raw"),
        (["kernels", "nope"], "no folder nope"),
        (["generate", "--prompt", "x", "--image-tokens", "71"], "--image-tokens"),
        (["generate", "--prompt", "x", "--tools", "/no/such.py"], "no Python file"),
        (["download", "not a name"], "repository name"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_errors_are_one_sentence_and_exit_code_2(line, said, edge_folder, capsys):
    if "--model" not in line and line[0] == "generate":
        line = [*line, "--model", str(edge_folder)]
    try:
        code = main(line)
    except SystemExit as end:
        code = end.code
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


def test_damaged_checkpoint_and_unexpected_failure(tmp_path, edge_folder, capsys, monkeypatch):
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    assert main(["generate", "--model", str(tmp_path), "--prompt", "x"]) == 2
    assert "not Gemma 4" in capsys.readouterr().err
    monkeypatch.setattr(common, "load_for", lambda _: 1 / 0)
    assert main(["generate", "--model", str(edge_folder), "--prompt", "x"]) == 2
    err = capsys.readouterr().err
    assert "ZeroDivisionError" in err
    assert err.count("\n") == 1


def test_no_model_and_no_demo(monkeypatch, capsys):
    monkeypatch.setattr(common, "demo_model", lambda: None)
    assert main(["generate", "--prompt", "x"]) == 2
    assert "--model" in capsys.readouterr().err


def test_label_of_the_demo_model_is_shown(edge_folder, tmp_path, monkeypatch, capsys):
    demo = tmp_path / "demo"
    demo.mkdir()
    for file in edge_folder.iterdir():
        (demo / file.name).symlink_to(file)
    config = json.loads((demo / "config.json").read_text())
    (demo / "config.json").unlink()
    (demo / "config.json").write_text(json.dumps(config | {"facet": {"label": "Demo (tiny)"}}))
    monkeypatch.setattr(common, "demo_model", lambda: demo)
    assert main(["generate", "--prompt", "x", *SHORT]) == 0
    assert "Demo (tiny)" in capsys.readouterr().err


def chat(lines: str, folder, monkeypatch, *options) -> int:
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    return main(["chat", "--model", str(folder), *SHORT, *options])


def test_chat_remembers_and_forgets(edge, edge_folder, monkeypatch, capsys):
    """The second prompt is the first, the tokens of the first reply, and the new turn."""
    assert chat("hello\nagain\n/reset\nhello\n", edge_folder, monkeypatch, "--stats") == 0
    model, processor = edge
    options = GenerateOptions(max_tokens=6, sampling=SamplingOptions(temperature=0))
    start = processor.inputs([message("user", "hello")]).ids
    cache = model.make_cache()
    steps = Decoder(model, processor.tokenizer, options).run(
        model.prefill(model.embed(start), cache), cache, start
    )
    said = [step.token for step in steps]
    turn = "<turn|>\n<|turn>user\nagain<turn|>\n<|turn>model\n"
    ids = np.array([*start, *said, *processor.tokenizer.encode(turn, control=True)], np.int32)
    first = expected(edge, [message("user", "hello")])
    inputs = ModelInputs(ids, np.zeros(len(ids), np.uint8))
    second = generate(model, processor, inputs, options).text
    out, err = capsys.readouterr()
    assert out == f"{first}\n{second}\n{first}\n"
    assert f"({len(start) + len(said)} reused)" in err


def test_chat_commands(edge, edge_folder, picture, sound, monkeypatch, capsys):
    lines = f"/image {picture}\n/audio {sound}\nwhat?\n/think\n/help\n/bogus\n\n/exit\nnever\n"
    assert (
        chat(lines, edge_folder, monkeypatch, "--system", "Be brief.", "--image-tokens", "70") == 0
    )
    out, err = capsys.readouterr()
    said = message("user", Image(picture, 70), Audio(sound), "what?")
    assert out == expected(edge, [message("system", "Be brief."), said]) + "\n"
    assert "thinking on" in err
    assert "/reset" in err
    assert "no command /bogus" in err


def test_chat_goes_on_after_an_error(edge, edge_folder, monkeypatch, capsys):
    assert chat("/image /no/such.png\nhello\n", edge_folder, monkeypatch) == 2
    out, err = capsys.readouterr()
    assert out == expected(edge, [message("user", "hello")]) + "\n"
    assert err.count("no file") == 1


def start(folder, command, *options) -> subprocess.Popen:
    line = [sys.executable, "-u", "-m", "mlx_gemma4", command, "--model", str(folder)]
    return subprocess.Popen(
        [*line, *options, "--max-tokens", "100000", "--temperature", "50"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_interrupt_ends_generate_cleanly(edge_folder):
    process = start(edge_folder, "generate", "--prompt", "hi")
    assert process.stdout is not None
    assert process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode in (0, 130), err  # 0 if the reply ended at the same moment
    assert b"Traceback" not in err


def test_interrupt_in_chat_stops_the_reply_only(edge_folder):
    process = start(edge_folder, "chat")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"hello\n")
    process.stdin.flush()
    assert process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    process.stdin.write(b"/help\n")
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert b"/reset" in err
    assert b"Traceback" not in err
