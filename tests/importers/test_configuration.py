"""cinder.conf: Cinder's own rules of where a value is looked for, and every mistake at once."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from sim.importers.configuration import read
from sim.importers.settings import Configuration
from sim.inputs.problems import Problems

TENANT = "cinder_internal_tenant_project_id = t\ncinder_internal_tenant_user_id = u\n"


def conf(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


def good(*paths: Path) -> Configuration:
    problems = Problems()
    found = read(paths, problems)
    assert found is not None, problems.lines()
    assert not problems
    return found


def bad(*paths: Path) -> list[str]:
    problems = Problems()
    assert read(paths, problems) is None
    return problems.lines()


def test_values_come_from_the_section_else_from_backend_defaults(tmp_path: Path) -> None:
    path = conf(
        tmp_path / "cinder.conf",
        """
        [DEFAULT]
        enabled_backends = a,b
        host = node1
        # Cinder does not look here.
        image_volume_cache_max_count = 1
        [backend_defaults]
        image_volume_cache_enabled = true
        image_volume_cache_max_count = 50
        reserved_percentage = 5
        [a]
        volume_backend_name = flash
        volume_driver = cinder.volume.drivers.rbd.RBDDriver
        image_volume_cache_max_count = 7
        max_over_subscription_ratio = 2.5
        [b]
        backend_host = cluster
        max_over_subscription_ratio = auto
        [unused]
        image_volume_cache_max_count = 9
        """,
    )
    found = good(path)
    assert list(found.sections) == ["a", "b"]
    a, b = found.sections["a"], found.sections["b"]
    assert (a.image_volume_cache_max_count, b.image_volume_cache_max_count) == (7, 50)
    assert (a.image_volume_cache_enabled, a.reserved_percentage) == (True, 5)
    assert (a.volume_backend_name, b.volume_backend_name) == ("flash", "LVM")
    assert (a.volume_driver, b.volume_driver) == (
        "cinder.volume.drivers.rbd.RBDDriver",
        "cinder.volume.drivers.lvm.LVMVolumeDriver",  # Cinder's default
    )
    assert (a.host, b.host) == ("node1", "cluster")
    assert (a.node, b.node) == ("node1", "node1")
    assert (a.max_over_subscription_ratio, b.max_over_subscription_ratio) == (2.5, None)
    texts = " ".join(note.text for note in found.notes)
    assert "[DEFAULT] image_volume_cache_max_count: Cinder ignores them there" in texts
    assert "[b] max_over_subscription_ratio is auto" in texts


@pytest.mark.parametrize(
    ("schemes", "cache", "tenant"),
    [("", False, True), ("file, cinder", True, True), ("file", True, True), ("cinder", True, False)],
)
def test_what_cinder_may_clone(tmp_path: Path, schemes: str, cache: bool, tenant: bool) -> None:
    """Without its tenant Cinder caches nothing (`context.get_internal_tenant_context`)."""
    text = f"[DEFAULT]\nenabled_backends = a\n{TENANT if tenant else ''}"
    text += f"allowed_direct_url_schemes = {schemes}\n" if schemes else ""
    path = conf(tmp_path / "c", f"{text}[a]\nimage_volume_cache_enabled = {cache}\n")
    found = good(path)
    assert found.allows_store == ("cinder" in schemes)
    assert found.caches == (cache and tenant)
    silent = "Cinder caches nothing" in " ".join(note.text for note in found.notes)
    assert silent == (cache and not tenant)


@pytest.mark.parametrize(
    ("url", "scope", "queue"),
    [
        (None, "node", True),  # file://$state_path
        ("file:///var/lib/cinder", "node", True),
        ("etcd3+http://user:secret@host:2379", "cloud", False),
        ("redis://host", "cloud", False),
        ("zookeeper://host", "cloud", True),
        ("postgresql://user:secret@host/locks", "cloud", True),
    ],
)
def test_lock_scope(tmp_path: Path, url: str | None, scope: str, queue: bool) -> None:
    coordination = f"[coordination]\nbackend_url = {url}\n" if url else ""
    found = good(conf(tmp_path / "c", f"[DEFAULT]\nenabled_backends = a\n{coordination}[a]\n"))
    assert found.lock_scope == scope
    assert queue != any("lock_order: chance" in note.text for note in found.notes)
    assert "secret" not in repr(found)


def test_later_files_win_and_a_folder_counts_where_it_is_given(tmp_path: Path) -> None:
    first = conf(tmp_path / "1.conf", "[DEFAULT]\nenabled_backends = a\nquota_volumes = 1\n[a]\n")
    last = conf(tmp_path / "2.conf", "[DEFAULT]\nquota_volumes = 2\nscheduler_max_attempts = 5\n")
    conf(tmp_path / "d" / "b.conf", "[DEFAULT]\nquota_volumes = 4\n")
    conf(tmp_path / "d" / "a.conf", "[DEFAULT]\nquota_volumes = 3\nquota_gigabytes = -1\n")
    assert good(first, last).whole["quota_volumes"] == 2
    assert good(last, first).whole["quota_volumes"] == 1
    found = good(first, last, tmp_path / "d")
    names = ("quota_volumes", "quota_gigabytes", "scheduler_max_attempts")
    assert [found.whole[name] for name in names] == [4, -1, 5]


def test_interpolation(tmp_path: Path) -> None:
    text = """
        [DEFAULT]
        state_path = /srv/cinder
        my_ip = 10.1.2.3
        host = node-$my_ip
        enabled_backends = a
        [coordination]
        backend_url = file://$state_path
        [a]
        """
    found = good(conf(tmp_path / "c", text))
    assert (found.sections["a"].node, found.lock_scope) == ("node-10.1.2.3", "node")


def test_every_problem_at_once(tmp_path: Path) -> None:
    text = """
        [DEFAULT]
        enabled_backends = a, gone, lost
        scheduler_max_attempts = many
        host = $nothing
        [coordination]
        backend_url = redis://:secret@$nowhere
        [a]
        image_volume_cache_max_count = lots
        """
    path = conf(tmp_path / "c", text)
    lines = bad(path)
    assert all(line.startswith(str(path)) for line in lines)
    for part in (
        "[DEFAULT] enabled_backends: 'gone' has no section of its own; the files have: a",
        "'lost' has no section",
        "[DEFAULT] scheduler_max_attempts: 'many' is not a whole number",
        "[DEFAULT] host: ",
        "[coordination] backend_url: cannot be used",
        "[a] image_volume_cache_max_count: 'lots' is not a whole number",
    ):
        assert part in "\n".join(lines)
    assert "secret" not in "\n".join(lines)


def test_a_limit_that_no_float_holds(tmp_path: Path) -> None:
    text = f"[DEFAULT]\nenabled_backends = a\n[a]\nimage_volume_cache_max_size_gb = {'9' * 400}\n"
    (line,) = bad(conf(tmp_path / "c", text))
    assert "[a] image_volume_cache_max_size_gb: " in line and " is not from " in line


def test_a_backend_with_the_name_of_an_option(tmp_path: Path) -> None:
    """oslo.config then gives the section for the option: Cinder's `CONF.host` is no text any more."""
    path = conf(tmp_path / "c", "[DEFAULT]\nenabled_backends = host,a\n[host]\n[a]\n")
    what = "cannot be read, because a backend in enabled_backends has its name: Cinder cannot either"
    assert bad(path) == [f"{path}: [DEFAULT] host: {what}"]


def test_unusable_files(tmp_path: Path) -> None:
    assert "No such file" in bad(tmp_path / "none")[0]
    broken = conf(tmp_path / "broken", "[DEFAULT]\nenabled_backends = a\nwhat is this\n")
    assert bad(broken) == [f"{broken}: line 3: No ':' or '=' found in assignment: 'what is this'"]
    binary = tmp_path / "binary"
    binary.write_bytes(b"[DEFAULT]\n\xff\xfe = 1\n")
    assert len(bad(binary)) == 1
    empty = conf(tmp_path / "empty", "")
    assert "enabled_backends: is empty" in bad(empty)[0]
