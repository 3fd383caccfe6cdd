"""Loading a scenario: what is accepted, what its values become, and every problem at once."""

from __future__ import annotations

import pickle
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from scenarios import make_two_tiers
from sim.inputs.backend import Backend
from sim.inputs.problems import SHOWN, BadInput, Problems
from sim.inputs.scenario import Case, Image, Scenario
from sim.inputs.yamlfile import read_yaml
from sim.sweep import varying
from sim.sweep.varying import reloads
from sim.workload.loading import load

ROOT = Path(__file__).parent.parent
CONTRACT = """
name: two-tiers
seed: 7
glance: {streams: 16, stream_mib_s: 75}
cinder:
  lock_scope: cloud
  scheduler_max_attempts: 3
  backend_stats_polling_interval: 60
  internal_tenant_quota_volumes: null
  internal_tenant_quota_gigabytes: null
tiers:
  flash: {price_gib_month: 0.125, price_volume_month: 0.0}
  disk: {price_gib_month: 0.045}
backends:
  flash-a:
    volume_type: flash
    node: c1
    pools: {p0: {capacity_gib: 20480, max_volumes: 500}}
    max_volumes: null
    create_s: 1.0
    clone_s: 2.0
    clone_mib_s: null
    delete_s: 2.0
    extend_s: 0.0
    write_mib_s: 400
    convert_mib_s: 445
    write_streams: null
    max_clones_per_volume: null
    delete_with_clones: allowed
    driver_clones_raw: false
    thin: true
    dedupe: false
    max_over_subscription_ratio: 20.0
    reserved_percentage: 0
    image_volume_cache_enabled: true
    image_volume_cache_max_size_gb: 200
    image_volume_cache_max_count: 50
  both: {volume_type: [flash, disk], pools: {p0: {}, p1: {capacity_gib: null}}}
images: images.csv
store: {home: flash-a#p0}
workload: {trace: trace.csv}
boot_timeout_s: 180
strategies: [none, store-only, cache-only, combined]
"""
SMALL = """
tiers: {flash: {}}
backends: {a: {volume_type: flash, pools: {p: {}}}}
images: images.csv
workload: {trace: trace.csv}
"""
IMAGES = """
image_id,name,disk_format,container_format,size_bytes,virtual_size_bytes
i1,One,qcow2,bare,600000000,2361393152
i2,Two,raw,bare,46137344,46137344
"""
TRACE = """
time,event,volume_id,image_id,size_gib,volume_type,host
0,create,v1,i1,10,flash,
5.5,delete,v1,,,,
"""

Put = Callable[..., Path]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Writes a scenario and its files (`initial_csv="..."` makes initial.csv); gives its path."""

    def write(scenario: str | bytes = SMALL, **files: str | bytes) -> Path:
        for name, content in {"images_csv": IMAGES, "trace_csv": TRACE, **files}.items():
            data = content.lstrip("\n").encode() if isinstance(content, str) else content
            (tmp_path / name.replace("_csv", ".csv")).write_bytes(data)
        path = tmp_path / "s.yaml"
        path.write_bytes(scenario.encode() if isinstance(scenario, str) else scenario)
        return path

    return write


def problems(path: Path) -> list[str]:
    """The problems of a scenario, its folder left out."""
    with pytest.raises(BadInput) as caught:
        load(path)
    return [line.replace(f"{path.parent}/", "") for line in caught.value.problems]


def changed(**changes: object) -> str:
    """SMALL with other values: `a__b=1` sets key b of a, None as value drops the key."""
    scenario = yaml.safe_load(SMALL)
    for key, value in changes.items():
        *parents, last = key.split("__")
        at = scenario
        for parent in parents:
            at = at.setdefault(parent, {})
        if value is None:
            del at[last]
        else:
            at[last] = value
    return yaml.safe_dump(scenario, sort_keys=False)


def backend(**options: object) -> str:
    return changed(backends={"a": {"volume_type": "flash", "pools": {"p": {}}, **options}})


# What is accepted


def test_contract_example_loads_as_written(put: Put) -> None:
    case = load(put(CONTRACT))
    scenario = case.scenario
    flash = scenario.backends["flash-a"]
    assert (scenario.name, scenario.seed, scenario.glance.stream_mib_s) == ("two-tiers", 7, 75)
    assert flash.volume_types == ("flash",)
    assert scenario.backends["both"].volume_types == ("flash", "disk")
    assert (flash.write_mib_s, flash.image_volume_cache_max_count) == (400, 50)
    assert scenario.tiers["disk"].price_volume_month == 0
    assert list(case.images) == ["i1", "i2"]
    assert case.trace.events["volume_id"].tolist() == ["v1", "v1"]
    assert case.initial.empty


def test_pools_and_hosts_are_in_the_scenarios_order(put: Put) -> None:
    scenario = load(put(CONTRACT)).scenario
    assert list(scenario.pools()) == ["flash-a#p0", "both#p0", "both#p1"]
    assert scenario.pools()["flash-a#p0"].max_volumes == 500
    assert scenario.hosts_of("flash") == ("flash-a#p0", "both#p0", "both#p1")
    assert scenario.hosts_of("disk") == ("both#p0", "both#p1")
    assert scenario.hosts_of("tape") == ()


def test_absent_keys_have_the_contracts_values(put: Put) -> None:
    scenario = load(put()).scenario
    spec = scenario.backends["a"]
    assert (scenario.name, scenario.seed, scenario.boot_timeout_s) == ("s", 7, 180)
    assert (scenario.glance.streams, scenario.glance.stream_mib_s) == (16, None)
    assert scenario.glance.nodes == 1
    assert not scenario.queues
    assert scenario.store is None
    assert scenario.stores == {}
    assert scenario.nodes == {}
    assert scenario.strategies == ("none", "store-only", "cache-only", "combined")
    assert scenario.cinder.model_dump() == {
        "lock_scope": "cloud",
        "lock_order": "arrival",
        "image_conversion_disable": False,
        "internal_tenant_owns_store": False,
        "internal_tenant_quotas": {},
        "quotas": {},
        "default_availability_zone": "nova",
        "scheduler_max_attempts": 3,
        "backend_stats_polling_interval": 60,
        "internal_tenant_quota_volumes": None,
        "internal_tenant_quota_gigabytes": None,
        "image_upload_use_internal_tenant": False,
        "scheduler_default_filters": (*("AvailabilityZoneFilter", "CapacityFilter", "CapabilitiesFilter"),),
        "scheduler_default_weighers": ("CapacityWeigher",),
        "capacity_weight_multiplier": 1.0,
        "allocated_capacity_weight_multiplier": -1.0,
        "volume_number_multiplier": -1.0,
        "scheduler_weight_handler": "OrderedHostWeightHandler",
    }
    assert scenario.upload == "copy"
    assert spec.pools["p"].model_dump() == {"capacity_gib": None, "max_volumes": None}
    assert spec.model_dump(exclude={"volume_types", "pools"}) == {
        "node": None,
        "nodes": None,
        "cluster": False,
        "clone_across_pools": False,
        "availability_zone": "nova",
        "max_volumes": None,
        "create_s": 0,
        "clone_s": 0,
        "clone_mib_s": None,
        "clone_copied_by": "array",
        "delete_s": 0,
        "extend_s": 0,
        "write_mib_s": None,
        "convert_mib_s": None,
        "read_mib_s": None,
        "write_streams": None,
        "write_zeroes": "skipped",
        "array_mib_s": None,
        "clone_lock": "none",
        "clone_streams": None,
        "max_clones_per_volume": None,
        "clone_family_limit": None,
        "delete_with_clones": "allowed",
        "snapshots": "volumes",
        "driver_clones_raw": False,
        "imports_raw_file": False,
        "thin": True,
        "dedupe": False,
        "max_over_subscription_ratio": 20,
        "reserved_percentage": 0,
        "filter_function": None,
        "goodness_function": None,
        "image_volume_cache_enabled": True,
        "image_volume_cache_max_size_gb": 0,
        "image_volume_cache_max_count": 0,
    }


def test_cinder_is_as_released_unless_a_scenario_asks_what_if(put: Put) -> None:
    assert load(put()).scenario.what_if.eviction == "lru"
    path = put(changed(what_if={"eviction": "sieve"}))
    assert load(path).scenario.what_if.eviction == "sieve"
    assert problems(put(changed(what_if={"eviction": "fifo"}))) == [
        "s.yaml: what_if.eviction: Input should be 'lru', 'sieve', 'gdsf' or 'belady'"
    ]


def test_specs_are_frozen(put: Put) -> None:
    scenario = load(put()).scenario
    with pytest.raises(ValidationError, match="frozen"):
        scenario.seed = 8  # type: ignore[misc]


def test_images_may_be_listed_in_the_scenario(put: Put) -> None:
    image = {
        "image_id": "i1",
        "name": "One",
        "disk_format": "raw",
        "container_format": "bare",
        "size_bytes": 5,
        "virtual_size_bytes": 5,
        "store_hosts": ["a#p"],
    }
    case = load(put(changed(images=[image])))
    assert case.images == {"i1": Image(**image)}  # type: ignore[arg-type]
    assert case.images["i1"].store_hosts == ("a#p",)


@pytest.mark.parametrize("trace", [True, False])
def test_images_that_glance_converts_are_those_of_a_rewritten_list(put: Put, trace: bool) -> None:
    """Of a trace, and of a workload that is drawn from the list."""
    drawn = {} if trace else {"workload": {"generate": {"duration": "6h"}}}
    converted = load(put(changed(glance={"convert_on_import": "raw"}, **drawn)))
    raw = IMAGES.replace("qcow2,bare,600000000", "raw,bare,2361393152")
    rewritten = load(put(changed(**drawn), images_csv=raw))
    assert {image.disk_format for image in converted.images.values()} == {"raw"}
    assert converted.images == rewritten.images
    assert converted.trace.events.equals(rewritten.trace.events)


def test_images_that_a_workload_makes_are_converted_too(put: Put) -> None:
    own = {"images": None, "workload": {"generate": {"duration": "6h"}}}
    plain, converted = (
        load(put(changed(**own, glance={"convert_on_import": how}))).images for how in (None, "raw")
    )
    assert converted == {name: image.as_raw() for name, image in plain.items()} != plain
    assert reloads("glance.convert_on_import") and not reloads("glance.total_mib_s")  # in a sweep


def test_image_list_in_csv_has_optional_columns_in_any_order(put: Put) -> None:
    images = """
        owner,virtual_size_bytes,size_bytes,container_format,disk_format,name,image_id,store_hosts
        p1,46137344,46137344,bare,raw,"A, B",i1,a#p;a#q
        ,46137344,46137344,bare,raw,,i2,
    """
    scenario = backend(pools={"p": {}, "q": {}})
    case = load(put(scenario, images_csv=textwrap.dedent(images)))
    assert case.images["i1"].store_hosts == ("a#p", "a#q")
    assert (case.images["i1"].owner, case.images["i1"].name) == ("p1", "A, B")
    assert (case.images["i2"].store_hosts, case.images["i2"].owner) == ((), "")


def test_an_image_larger_than_its_volume_is_no_problem(put: Put) -> None:
    trace = TRACE.replace("i1,10", "i1,1")
    assert load(put(trace_csv=trace)).trace.events["size_gib"].tolist() == [1, 0]


def test_a_tier_without_backend_is_no_problem_until_asked_for(put: Put) -> None:
    tiers = {"flash": {}, "disk": {}}
    assert list(load(put(changed(tiers=tiers))).scenario.tiers) == ["flash", "disk"]
    asked = TRACE.replace("flash", "disk")
    assert problems(put(changed(tiers=tiers), trace_csv=asked)) == [
        "trace.csv: line 2: no backend serves volume type 'disk'"
    ]


def test_minus_one_is_cinders_quota_without_limit(put: Put) -> None:
    scenario = changed(cinder={"internal_tenant_quota_volumes": -1})
    assert load(put(scenario)).scenario.cinder.internal_tenant_quota_volumes is None


@pytest.mark.parametrize(("text", "value"), [("1e3", 1000.0), ("1.5", 1.5), (".5", 0.5), ("2", 2)])
def test_numbers_of_yaml_1_2(put: Put, text: str, value: float) -> None:
    scenario = SMALL.replace("pools:", f"clone_s: {text}, pools:")
    assert load(put(scenario)).scenario.backends["a"].clone_s == value


WORDS = ("010", "1:30", "1_000", "0o17", "0x1F", "yes", "no", "on", "off", "2024-13-45", "=", "1e-3", "null")


@pytest.mark.parametrize("text", WORDS)
def test_a_scenario_vary_and_list_read_one_language(put: Put, text: str, tmp_path: Path) -> None:
    """YAML 1.2: what 1.1 takes for octals, base 60, dates or booleans is text everywhere."""
    problems = Problems()
    path = tmp_path / "value.yaml"
    path.write_text(f"seed: {text}\n")
    own = read_yaml(path, problems)
    assert own is not None and not problems
    (tmp_path / "list.csv").write_text(f"seed\n{text}\n")
    assert varying.parse([f"seed={text}"]) == {"seed": [own["seed"]]}
    assert varying.listed(tmp_path / "list.csv", ["none"])[0].values == (("seed", own["seed"]),)
    assert own["seed"] == {"1e-3": 1e-3, "null": None}.get(text, text)


def test_bom_crlf_and_a_full_path_are_accepted(put: Put) -> None:
    path = put()
    scenario = SMALL.replace("trace.csv", str(path.parent / "trace.csv"))
    data = b"\xef\xbb\xbf" + scenario.replace("\n", "\r\n").encode()
    path.write_bytes(data)
    assert load(str(path)).path == path


def test_aliases_and_merges_repeat_what_was_said(put: Put) -> None:
    scenario = SMALL.replace(
        "backends: {a: {volume_type: flash, pools: {p: {}}}}",
        "backends: {a: &a {volume_type: flash, pools: {p: {}}}, b: *a, c: {<<: *a, clone_s: 3}}",
    )
    backends = load(put(scenario)).scenario.backends
    assert backends["b"] == backends["a"]
    assert (backends["c"].clone_s, backends["c"].volume_types) == (3, ("flash",))


def test_a_case_can_be_pickled(put: Put) -> None:
    case = load(put())
    again: Case = pickle.loads(pickle.dumps(case))
    assert again.scenario == case.scenario
    assert again.trace.events.equals(case.trace.events)


def test_a_spec_can_be_made_in_python() -> None:
    spec = Backend.model_validate({"volume_type": "flash", "pools": {"p": {"max_volumes": 3}}})
    assert (spec.volume_types, spec.pools["p"].max_volumes) == (("flash",), 3)


# YAML that is refused


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "s.yaml: is empty"),
        ("# only a comment\n", "s.yaml: is empty"),
        ("- a\n- b\n", "s.yaml: is not a mapping of keys to values"),
        ("just text\n", "s.yaml: is not a mapping of keys to values"),
        ("a: 1\nb: [1, 2\nc: 3\n", "s.yaml: line 3: expected ',' or ']', but got ':'"),
        ("a: 1\n\tb: 2\n", "s.yaml: line 2: found character '\\t' that cannot start any token"),
        ("a: *b\n", "s.yaml: line 1: found undefined alias 'b'"),
        ("a: &b [*b]\n", "s.yaml: line 1: an alias inside what it repeats"),
        ("a: !!python/object/apply:os.getcwd []\n", "s.yaml: line 1: tags are not allowed"),
        ("a: !!int x\n", "s.yaml: line 1: tags are not allowed"),
        ("{[a, b]: 1}\n", "s.yaml: line 1: found unhashable key"),
        ("a: 1\n---\nb: 2\n", "s.yaml: line 2: but found another document"),
        ("a: " + "[" * 5000, "s.yaml: line 1: too deeply nested"),
        ("\n".join(" " * i + "a:" for i in range(3000)), "s.yaml: line 30: too deeply nested"),
        (b"name: a\nseed: \xff\n", "s.yaml: line 2: invalid UTF-8"),
        (b"name: a\n\n\0seed: 7\n", "s.yaml: line 3: NUL byte"),
        (
            b"name: \x07\n",
            "s.yaml: is not YAML: unacceptable character #x0007: special characters are not allowed",
        ),
    ],
)
def test_what_is_not_a_scenario_at_all(put: Put, text: str | bytes, problem: str) -> None:
    assert problems(put(text)) == [problem]


def test_exploding_aliases_are_refused(put: Put) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 20)]
    assert problems(put("\n".join(lines))) == ["s.yaml: line 6: more than 1000000 nodes, aliases counted"]


def test_keys_given_twice_are_all_told(put: Put) -> None:
    found = problems(put(SMALL.replace("{p: {}}", "{p: {}, p: {}}") + "tiers: {flash: {}}\n"))
    assert found == [
        "s.yaml: line 6: key 'tiers' is given twice",
        "s.yaml: line 3: key 'p' is given twice",
    ]


@pytest.mark.parametrize("number", ["1e400", "-1e400", ".inf", ".nan"])
def test_numbers_that_are_not_finite(put: Put, number: str) -> None:
    found = problems(put(SMALL.replace("pools:", f"clone_s: {number}, pools:")))
    assert found == ["s.yaml: backends.a.clone_s: Input should be a finite number"]


@pytest.mark.parametrize("number", ["010", "1:30", "0x10", "1_000", "'12'", "yes", "12 GiB"])
def test_text_and_booleans_are_no_numbers(put: Put, number: str) -> None:
    found = problems(put(SMALL.replace("pools:", f"clone_s: {number}, pools:")))
    assert found == ["s.yaml: backends.a.clone_s: Input should be a valid number"]


def test_a_number_of_thousands_of_digits(put: Put) -> None:
    found = problems(put(SMALL.replace("pools:", f"write_streams: {'9' * 9000}, pools:")))
    assert found == ["s.yaml: backends.a.write_streams: Input should be a valid integer"]


# Values that are refused

POSITIVE = "Input should be greater than 0"
AT_LEAST_ONE = "Input should be greater than or equal to 1"
ONE = "Input should be greater than or equal to 1"
ZERO = "Input should be greater than or equal to 0"
WHOLE = "Input should be a valid integer"


@pytest.mark.parametrize(
    ("scenario", "problem"),
    [
        (changed(extra=1), "extra: unknown key"),
        (changed(glance={"stream": 1}), "glance.stream: unknown key"),
        (changed(glance={"streams": 0}), f"glance.streams: {ONE}"),
        (changed(glance={"streams": 1.5}), "glance.streams: Input should be a valid integer"),
        (changed(glance={"stream_mib_s": 0}), "glance.stream_mib_s: "
         "Input should be greater than or equal to 0.001"),
        (changed(seed=-1), f"seed: {ZERO}"),
        (changed(seed=True), f"seed: {WHOLE}"),
        (changed(name=""), "name: String should have at least 1 character"),
        (changed(boot_timeout_s=-1), f"boot_timeout_s: {ZERO}"),
        (changed(cinder={"lock_scope": "rack"}), "cinder.lock_scope: "
         "Input should be 'cloud' or 'node'"),
        (changed(cinder={"scheduler_max_attempts": 0}), f"cinder.scheduler_max_attempts: {ONE}"),
        (
            changed(cinder={"scheduler_max_attempts": 2**31 - 1}),
            "cinder.scheduler_max_attempts: at most 1000 attempts: each of them is simulated for each create"
            " that fails",
        ),
        (changed(cinder={"backend_stats_polling_interval": 0}),
         f"cinder.backend_stats_polling_interval: {ONE}"),
        (changed(cinder={"internal_tenant_quota_volumes": -2}),
         f"cinder.internal_tenant_quota_volumes: {ZERO}"),
        (changed(cinder={"internal_tenant_quota_gigabytes": 1.5}),
         f"cinder.internal_tenant_quota_gigabytes: {WHOLE}"),
        (changed(tiers={"flash": {"price_gib_month": -0.1}}),
         f"tiers.flash.price_gib_month: {ZERO}"),
        (changed(tiers={"flash": {"price": 1}}), "tiers.flash.price: unknown key"),
        (backend(pools={}), "backends.a.pools: "
         "at least one is needed"),
        (backend(pools={"p": {"max_volumes": 0}}), f"backends.a.pools.p.max_volumes: {AT_LEAST_ONE}"),
        (backend(pools={"p": {"capacity_gib": 0}}), f"backends.a.pools.p.capacity_gib: {POSITIVE}"),
        (backend(max_volumes=-5), f"backends.a.max_volumes: {AT_LEAST_ONE}"),
        (backend(node="c1", nodes=["c2"]), "backends.a: either node or nodes, not both"),
        (backend(nodes=["c1", "c2", "c1"]), "backends.a.nodes: given twice: 'c1'"),
        (backend(nodes=[]), "backends.a.nodes: at least one is needed"),
        (backend(nodes="c1"), "backends.a.nodes: Input should be a valid tuple"),
        (backend(cluster="yes"), "backends.a.cluster: Input should be a valid boolean"),
        (backend(clone_across_pools=1), "backends.a.clone_across_pools: Input should be a valid boolean"),
        (backend(create_s=-1), f"backends.a.create_s: {ZERO}"),
        (backend(clone_s=2e9), "backends.a.clone_s: "
         "Input should be less than or equal to 1000000000"),
        (backend(write_mib_s=-400), "backends.a.write_mib_s: "
         "Input should be greater than or equal to 0.001"),
        (backend(write_streams=0), f"backends.a.write_streams: {ONE}"),
        (backend(max_clones_per_volume=0), f"backends.a.max_clones_per_volume: {ONE}"),
        (backend(delete_with_clones="no"), "backends.a.delete_with_clones: "
         "Input should be 'allowed' or 'busy'"),
        (backend(thin="true"), "backends.a.thin: Input should be a valid boolean"),
        (backend(dedupe=1), "backends.a.dedupe: Input should be a valid boolean"),
        (backend(max_over_subscription_ratio=0.9),
         f"backends.a.max_over_subscription_ratio: {ONE}"),
        (backend(reserved_percentage=101), "backends.a.reserved_percentage: "
         "Input should be less than or equal to 100"),
        (backend(reserved_percentage=-1), f"backends.a.reserved_percentage: {ZERO}"),
        (backend(image_volume_cache_max_size_gb=-1),
         f"backends.a.image_volume_cache_max_size_gb: {ZERO}"),
        (backend(image_volume_cache_max_count=2.5),
         f"backends.a.image_volume_cache_max_count: {WHOLE}"),
        (backend(volume_type=5), "backends.a.volume_type: Input should be a valid tuple"),
        (backend(volume_type=[]), "backends.a.volume_type: "
         "at least one is needed"),
        (backend(volume_type=["flash", "flash"]), "backends.a.volume_type: given twice: 'flash'"),
        (backend(volume_type=["flash", "gold"]), "backends.a.volume_type: 'gold' is not in tiers"),
        (backend(volume_types=["flash"]), "backends.a.volume_types: unknown key"),
        (changed(store={"home": "a#q"}), "store.home: unknown pool 'a#q'"),
        (changed(nodes={"c2": {}}), "nodes.c2: no backend runs on node 'c2': must be one of 'c1'"),
        (changed(nodes={"c1": {"image_conversion_gib": 0}}),
         "nodes.c1.image_conversion_gib: Input should be greater than 0"),
        (changed(nodes={"c1": {"image_conversion_gb": 1}}), "nodes.c1.image_conversion_gb: unknown key"),
        (changed(store={"home": "a"}), "store.home: a host is written backend#pool"),
        (changed(store={}), "store: either home or volume_type"),
        (changed(store={"home": "a#p", "volume_type": "flash"}), "store: either home or volume_type"),
        (changed(store={"volume_type": "tape"}), "store.volume_type: 'tape' is not in tiers"),
        (changed(stores={"s": {"volume_type": "tape"}}), "stores.s.volume_type: 'tape' is not in tiers"),
        (changed(stores={"s": {}}), "stores.s.volume_type: Field required"),
        (changed(tiers={"flash": {"image_service_store_id": "s"}}),
         "tiers.flash.image_service_store_id: 's' is not in stores"),
        (changed(strategies=["nine"]), "strategies.0: unknown strategy 'nine': "
         "must be one of none, store-only, cache-only, combined, replicated-store, on-demand-store"),
        (changed(strategies=["none", "none"]), "strategies: given twice: 'none'"),
        (changed(strategies=[]), "strategies: "
         "at least one is needed"),
        (changed(strategies="none"), "strategies: Input should be a valid tuple"),
        (changed(workload={}), "workload: either trace or generate is needed"),
        (changed(workload={"trace": "trace.csv", "generate": {}}),
         "workload: either trace or generate is needed"),
        (changed(images=5), "images: Input should be a valid tuple"),
        (changed(images=[]), "images: at least one is needed"),
        (SMALL + "5: 6\n", "5: Keys should be strings"),
    ],
)  # fmt: skip
def test_a_bad_value_is_told_with_its_path(put: Put, scenario: str, problem: str) -> None:
    trace = "time,event,volume_id,image_id,size_gib,volume_type,host\n0,create,v,,1,flash,\n"
    assert problems(put(scenario, trace_csv=trace)) == [f"s.yaml: {problem}"]


@pytest.mark.parametrize("name", ["", "a#b", "a@b", "a/b", "a b", "a\tb"])
def test_names_that_would_spoil_a_host(put: Put, name: str) -> None:
    spec = {"volume_type": "flash", "pools": {name: {}, "p": {}}}
    what = "a name may not be empty nor have '#', '@', '/' or white space in it"
    shown = name.replace("\t", "\\t")
    found = problems(put(changed(backends={name: spec})))
    assert sorted(found) == sorted(
        [
            f"s.yaml: backends.{shown}: {what}",
            f"s.yaml: backends.{shown}.pools.{shown}: {what}",
        ]
    )


@pytest.mark.parametrize("key", ["tiers", "backends", "images", "workload"])
def test_what_every_scenario_needs(put: Put, key: str) -> None:
    assert problems(put(changed(**{key: None}))) == [f"s.yaml: {key}: Field required"]


@pytest.mark.parametrize("key", ["tiers", "backends", "workload", "store", "glance", "cinder"])
def test_lists_and_text_for_mappings(put: Put, key: str) -> None:
    for value in ([], "text", 5):
        found = problems(put(changed(**{key: value})))
        assert [line for line in found if line.startswith(f"s.yaml: {key}: ")]


def test_mappings_that_are_lists_deeper_down(put: Put) -> None:
    for scenario in (changed(backends={"a": []}), backend(pools=[]), backend(pools={"p": []})):
        assert any(": backends.a" in line for line in problems(put(scenario)))


# Images that are refused


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (",N,raw,bare,1,1", "image_id: String should have at least 1 character"),
        ("x,N,,bare,1,1", "disk_format: String should match pattern '^[a-z0-9_-]+$'"),
        ("x,N,RAW,bare,1,1", "disk_format: String should match pattern '^[a-z0-9_-]+$'"),
        ("x,N,raw,,1,1", "container_format: String should match pattern '^[a-z0-9_-]+$'"),
        ("x,N,raw,bare,0,1", "size_bytes: Input should be greater than or equal to 1"),
        ("x,N,raw,bare,1,-1", "virtual_size_bytes: Input should be greater than or equal to 1"),
        ("x,N,raw,bare,1.5,1", "size_bytes: Input should be a valid integer"),
        ("x,N,raw,bare,1,", "virtual_size_bytes: Input should be a valid integer"),
        ("x,N,raw,bare,1e9,1", "size_bytes: Input should be a valid integer"),
        (f"x,N,raw,bare,{2**70},1", f"size_bytes: Input should be less than or equal to {2**60}"),
        ("i1,N,raw,bare,1,1", "image 'i1' exists already"),
        ("x,N,raw,bare,1", "5 cells where the header has 6"),
    ],
)
def test_a_bad_image_is_told_with_its_line(put: Put, row: str, problem: str) -> None:
    assert problems(put(images_csv=f"{IMAGES}{row}\n")) == [f"images.csv: line 4: {problem}"]


def test_bad_images_listed_in_the_scenario(put: Put) -> None:
    image = {"image_id": "i1", "name": "", "disk_format": "raw", "container_format": "bare"}
    sizes = {"size_bytes": 1, "virtual_size_bytes": 1}
    images = [{**image, **sizes}, {**image, **sizes, "store_hosts": "a#x"}, {**image, "size": 1}]
    assert problems(put(changed(images=images))) == [
        "s.yaml: images.2.size_bytes: Field required",
        "s.yaml: images.2.virtual_size_bytes: Field required",
        "s.yaml: images.2.size: unknown key",
        "s.yaml: images.1: image 'i1' exists already",
        "s.yaml: images.2: image 'i1' exists already",
        "s.yaml: images.1: store_hosts: unknown pool 'a#x'",
    ]


def test_store_hosts_must_be_pools_each_once(put: Put) -> None:
    images = (
        "image_id,name,disk_format,container_format,size_bytes,virtual_size_bytes,store_hosts\n"
        "i1,N,raw,bare,1,1,a#p;b#p\ni2,N,raw,bare,1,1,a#p;a#p\ni3,N,raw,bare,1,1,ap\n"
    )
    assert problems(put(images_csv=images)) == [
        "images.csv: line 3: store_hosts: given twice: 'a#p'",
        "images.csv: line 4: store_hosts.0: a host is written backend#pool",
        "images.csv: line 2: store_hosts: unknown pool 'b#p'",
        "images.csv: line 4: store_hosts: unknown pool 'ap'",
    ]


def test_an_image_list_without_images(put: Put) -> None:
    found = problems(put(images_csv=IMAGES.lstrip("\n").splitlines()[0]))
    assert found == ["images.csv: has no images", "trace.csv: line 2: unknown image 'i1'"]


def test_an_image_list_without_any_column_of_one(put: Put) -> None:
    found = problems(put(images_csv="i1,One\ni2,Two\n"))
    assert found[:6] == [
        f"images.csv: column {name!r} is missing" for name in IMAGES.strip().splitlines()[0].split(",")
    ]
    assert sorted(found[6:]) == [
        "images.csv: unknown column 'One'",
        "images.csv: unknown column 'i1'",
    ]


def test_a_lacking_image_column_is_told_once(put: Put) -> None:
    images = "image_id,disk_format,container_format,size_bytes\ni1,raw,bare,1\ni2,raw,bare,x\n"
    assert problems(put(images_csv=images)) == [
        "images.csv: column 'name' is missing",
        "images.csv: column 'virtual_size_bytes' is missing",
        "images.csv: line 3: size_bytes: Input should be a valid integer",
    ]


# Files that are not there


def test_files_that_cannot_be_read_are_all_told(put: Put, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    scenario = changed(images="nowhere.csv", workload={"trace": "folder", "initial": "x.parquet"})
    assert problems(put(scenario)) == [
        "nowhere.csv: cannot be read: No such file or directory",
        "folder: is not a file",
        "x.parquet: cannot be read: No such file or directory",
    ]


def test_a_scenario_that_is_not_there(tmp_path: Path) -> None:
    assert problems(tmp_path / "no.yaml") == ["no.yaml: cannot be read: No such file or directory"]
    with pytest.raises(BadInput) as caught:
        load(tmp_path)
    assert caught.value.problems == [f"{tmp_path}: is not a file"]


def test_a_file_name_with_a_nul(put: Put) -> None:
    found = problems(put('workload: {trace: "a\\0b"}\n' + SMALL.replace("workload", "#")))
    assert found == [r"a\x00b: cannot be read: embedded null byte"]


def test_paths_are_shown_as_given(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(changed(workload__trace="sub/../t.csv"))
    monkeypatch.chdir(path.parent.parent)
    with pytest.raises(BadInput) as caught:
        load(f"{path.parent.name}/s.yaml")
    where = f"{path.parent.name}/sub/../t.csv"
    assert caught.value.problems == [f"{where}: cannot be read: No such file or directory"]


# All problems at once


def test_all_problems_of_all_files_come_at_once(put: Put) -> None:
    scenario = changed(
        seed=-1,
        backends={
            "a": {"volume_type": "flash", "pools": {"p": {"max_volumes": 0}}},
            "b": {"volume_type": "gold", "pools": {"p": {}}, "colour": "red"},
        },
        store={"home": "c#p"},
        workload={"trace": "trace.csv", "initial": "initial.csv"},
    )
    initial = (
        "kind,volume_id,image_id,size_gib,host,last_used\n"
        "volume,v1,,0,a#p,\ncache,,i9,1,a#p,-5\nvolume,v0,,1,z#p,\n"
    )
    trace = TRACE + "4,create,v2,i9,0,silver,b#q\n9,delete,v0,,,,\n9,delete,v3,,,,\n"
    images = IMAGES + "i1,,raw,bare,0,1\n"
    found = problems(put(scenario, images_csv=images, trace_csv=trace, initial_csv=initial))
    assert sorted(found) == sorted(
        [
            "s.yaml: seed: Input should be greater than or equal to 0",
            "s.yaml: backends.a.pools.p.max_volumes: Input should be greater than or equal to 1",
            "s.yaml: backends.b.colour: unknown key",
            "s.yaml: backends.b.volume_type: 'gold' is not in tiers",
            "s.yaml: store.home: unknown pool 'c#p'",
            "images.csv: line 4: size_bytes: Input should be greater than or equal to 1",
            "images.csv: line 4: image 'i1' exists already",
            "trace.csv: line 4: time '4' is before that of the event above it",
            "trace.csv: line 4: size_gib '0' is not a whole number, 1 to 2147483647",
            "trace.csv: line 4: unknown image 'i9'",
            "trace.csv: line 4: unknown volume type 'silver'",
            "trace.csv: line 4: unknown host 'b#q'",
            "trace.csv: line 2: volume 'v1' is in the initial state already",
            "trace.csv: line 6: delete of volume 'v3', which does not exist yet",
            "initial.csv: line 2: size_gib '0' is not a whole number, 1 to 2147483647",
            "initial.csv: line 3: unknown image 'i9'",
            "initial.csv: line 4: unknown host 'z#p'",
        ]
    )


def test_problems_of_a_kind_are_counted_beyond_twenty(put: Put) -> None:
    bad = "".join(f"{n},create,w{n},i{n},10,flash,\n" for n in range(6, 1006))
    found = problems(put(trace_csv=TRACE + bad))
    assert found[0] == "trace.csv: line 4: unknown image 'i6'"
    assert found[SHOWN:] == ["trace.csv: and 980 more: unknown image"]


def test_problems_of_the_specs_are_counted_too(put: Put) -> None:
    pools = {f"p{n}": {"max_volumes": 0} for n in range(50)}
    found = problems(put(backend(pools=pools)))
    assert len(found) == SHOWN + 1
    assert found[-1] == f"s.yaml: and 30 more: {AT_LEAST_ONE}"


def test_bad_input_survives_another_process() -> None:
    again = pickle.loads(pickle.dumps(BadInput(["one", "two"])))
    assert again.problems == ["one", "two"]
    assert str(again) == "one\ntwo"


def test_what_would_upset_a_terminal_is_escaped(put: Put) -> None:
    found = problems(put('"\\e[31m": 1\n' + SMALL))
    assert found == [r"s.yaml: \x1b[31m: unknown key"]
    collected = Problems()
    collected.add("a\nb.csv", "line 1", "what")
    assert collected.lines() == [r"a\nb.csv: line 1: what"]


# The scenarios of the project


@pytest.mark.parametrize("path", sorted((ROOT / "scenarios").glob("*.yaml")), ids=lambda p: p.name)
def test_every_scenario_loads_and_says_what_it_shows(path: Path) -> None:
    assert path.read_text().startswith("# ")
    case = load(path)
    assert isinstance(case.scenario, Scenario)
    assert len(case.trace.events) > 0


def test_two_tiers_is_what_its_script_draws(tmp_path: Path) -> None:
    make_two_tiers.main(tmp_path / "trace.csv")
    committed = ROOT / "scenarios" / "two_tiers" / "trace.csv"
    assert (tmp_path / "trace.csv").read_bytes() == committed.read_bytes()


def test_two_tiers_has_what_it_is_to_show() -> None:
    case = load(ROOT / "scenarios" / "two_tiers.yaml")
    events, images = case.trace.events, case.images
    creates = events[events["event"] == "create"]
    assert len(creates) == 4000
    # Storms: at least twenty creates of one image within a minute, several times.
    bursts = creates.groupby([creates["time"] // 60, "image_id"], observed=True).size()
    assert (bursts >= 20).sum() >= 5
    # Raw images are files of their virtual size, and both kinds are there.
    raw = [image for image in images.values() if image.disk_format == "raw"]
    assert 5 <= len(raw) <= len(images) / 2
    assert all(image.size_bytes == image.virtual_size_bytes for image in raw)
    # More flash volumes are wanted at the peak than the arrays take.
    flash = set(creates.loc[creates["volume_type"] == "flash", "volume_id"])
    step = events.loc[events["volume_id"].isin(flash), "event"].map({"create": 1, "delete": -1})
    backends = case.scenario.backends
    limits = [backends["flash-a"].pools["p0"].max_volumes, backends["flash-b"].max_volumes]
    assert step.astype(int).cumsum().max() > sum(limit for limit in limits if limit)
    # Some image fits no cache of flash-b.
    largest = max(image.virtual_size_bytes for image in images.values())
    assert largest > backends["flash-b"].image_volume_cache_max_size_gb * 2**30 > 0


def _numbers(schema: Any, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every number in a JSON schema, by its place."""
    if isinstance(schema, list):
        for each in schema:
            yield from _numbers(each, where)
    elif isinstance(schema, dict):
        if schema.get("type") in ("number", "integer"):
            yield where, schema
        for key, value in schema.items():
            if key != "default":
                yield from _numbers(value, f"{where}.{key}")


def test_every_number_of_a_scenario_has_bounds() -> None:
    found = dict(_numbers(Scenario.model_json_schema()))
    assert len(found) > 50
    for where, schema in found.items():
        assert {"minimum", "exclusiveMinimum", "gt"} & set(schema), where
        if where.endswith(".scheduler_max_attempts"):
            continue  # refused with its cost
        assert schema.get("maximum", schema.get("le", 2**63)) < 2**63, where


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"tiers": {"flash": {"price_gib_month": 1e20}}}, "less than or equal to 1000000000"),
        (backend(max_volumes=10**24), "less than or equal to 2147483647"),
        (backend(pools={"p": {"capacity_gib": 1e20}}), "less than or equal to 2147483647"),
        (backend(write_mib_s=1e300), "less than or equal to 1000000000"),
        ({"seed": 10**30}, "less than or equal to 9223372036854775807"),
        ({"tiers": {"flash": {}, "all": {}}}, "'all' is the name of all tiers together in results"),
        ({"tiers": {"flash": {}, "a;b": {}}}, "may not have ';' in it"),
        ({"tiers": {"flash": {}, "t" * 300: {}}}, "at most 255 characters"),
        (backend(pools={"p" * 300: {}}), "at most 255 characters"),
    ],
)
def test_what_results_cannot_hold_is_refused(put: Put, change: Any, problem: str) -> None:
    given = change if isinstance(change, str) else changed(**change)
    assert any(problem in line and len(line) < 400 for line in problems(put(given)))
