"""The folder of compiled code heals, and is not imposed on who has one."""

import os

import pytest

from widelimit.command import compilation
from widelimit.command.compilation import keep_compiled


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """An empty cache folder of widelimit's own, and no JAX variables."""
    kept = {name: value for name, value in os.environ.items() if "JAX" not in name}
    monkeypatch.setattr("os.environ", kept)
    monkeypatch.setattr(compilation, "user_cache_path", lambda name: tmp_path)
    folder = tmp_path / compilation._processor()
    folder.mkdir()
    return folder


def test_entries_of_killed_processes_do_not_stop_the_cache(own_folder):
    """JAX reads the time of use of every entry before it adds one, and gives up without it."""
    from jax._src.lru_cache import LRUCache

    (own_folder / "old-cache").write_bytes(b"code")
    cache = LRUCache(str(own_folder), max_size=1000)
    with pytest.raises(FileNotFoundError):
        cache.put("new", b"more")
    keep_compiled()
    cache.put("new", b"more")
    assert cache.get("new") == b"more"
    assert cache.get("old") == b"code"


def test_a_folder_that_was_chosen_is_left_as_it_is(own_folder, tmp_path):
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(tmp_path / "mine")
    keep_compiled()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path / "mine")
    assert "JAX_COMPILATION_CACHE_MAX_SIZE" not in os.environ
