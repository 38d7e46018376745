"""What a person may write or paste to name a model."""

import pytest

from app.core.repo_name import repo_name


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("mlx-community/gemma-4-e2b-it-4bit", "mlx-community/gemma-4-e2b-it-4bit"),
        (" google/gemma-4-E2B-it\n", "google/gemma-4-E2B-it"),
        ("https://huggingface.co/google/gemma-4-E2B-it", "google/gemma-4-E2B-it"),
        ("huggingface.co/google/gemma-4-E2B-it/tree/main?x=1#y", "google/gemma-4-E2B-it"),
        ("", ""),
        ("not a repo", ""),
        ("gemma", ""),
        ("../../etc", ""),
        ("a/..", ""),
        ("a/b/c", ""),
        ("a/b.git", ""),
        ("a--b/c", ""),
        ("-a/b", ""),
        ("ä/b", ""),
        ("a/" + "b" * 97, ""),
        ("https://example.org/google/gemma-4-E2B-it", ""),
        ("https://huggingface.co/", ""),
    ],
)
def test_names_and_addresses(words: str, name: str) -> None:
    assert repo_name(words) == name
