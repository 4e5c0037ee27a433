"""Files: read back to the last bit, refused in one sentence when they are anything else."""

import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from flow_cases import CASES, KERNEL, Noisy, assert_same, fresh, same_bits
from generators import measures

import jko
from jko.flows import archive
from jko.flows.callbacks import STOP

ENERGY = CASES["particles"].energy


@pytest.fixture
def checkpoint(tmp_path):
    """The file of a run cut after two steps."""

    def interrupt(event):
        if event.index == 3:
            raise KeyboardInterrupt

    path = tmp_path / "run.npz"
    with pytest.warns(RuntimeWarning):
        fresh("particles").run(checkpoint=path, callbacks=interrupt)
    return path


@pytest.mark.parametrize("name", sorted(CASES))
def test_saved_trajectories_come_back_to_the_last_bit(name, tmp_path):
    sol = fresh(name).run(steps=3, callbacks=lambda event: event.record("e", event.energy))
    path = tmp_path / "any.name"  # written as named, without a suffix of numpy's own
    sol.save(path)
    back = jko.Trajectory.load(str(path))
    assert_same(back, sol)
    assert [s.substeps for s in back.steps] == [s.substeps for s in sol.steps]
    assert back.verify().holds == sol.verify().holds
    assert repr(back) == repr(sol)
    assert os.listdir(tmp_path) == ["any.name"]


MEASURES = {
    "histogram": measures.histogram(mass=2.0),
    "particles": measures.particles(mass=0.1),
    "grid": measures.grid_density(mass=3.0),
    "gaussian": measures.gaussian(mass=0.3),
    "gaussian-1d": jko.Gaussian([1e-300], 1e300),
    "fortran": jko.Particles(np.asfortranarray(np.random.default_rng(0).normal(size=(5, 3)))),
    "one": jko.Particles([[0.1]]),
    "odd": jko.Histogram([[-0.0], [5e-324], [1e308]], [5e-324, 0.0, 1 / 3]),
}


@pytest.mark.parametrize("name", sorted(MEASURES))
def test_measures_come_back_to_the_last_bit(name, tmp_path):
    mu, path = MEASURES[name], tmp_path / "m"
    archive.write(path, "test", {"m": mu, "again": (mu, mu)})
    back = archive.read(path, {"test": lambda tree: tree})
    assert same_bits(back["m"], mu)
    assert same_bits(back["again"][1], mu)
    for array in ("points", "weights", "mean", "cov"):
        if array in vars(mu):
            one, two = vars(back["m"])[array], vars(mu)[array]
            assert one.tobytes("A") == two.tobytes("A")
            assert (one.strides, one.flags.writeable) == (two.strides, False)


def test_trees_come_back_with_their_types(tmp_path):
    tree = {
        "none": None,
        "numbers": [1, True, 2.5, float("inf"), 10**40, np.float32(0.1), np.int16(3)],
        "nested": ({"a": [(), []]}, "text é\n"),
        "arrays": [
            np.arange(3, dtype=np.uint64),
            np.zeros((0, 2)),
            np.array(1.5),
            np.ones(3, dtype=bool),
            np.arange(12.0).reshape(3, 4)[:, ::2],
            np.arange(3, dtype=">f4"),
        ],
        "kernel": 2.0 * jko.kernels.Gaussian(0.3) + jko.kernels.Matern(0.5),
        "geometry": (0.1 + 1e-16) * jko.MMD(jko.kernels.Energy()),
        "solver": jko.solvers.SimplexQP(support="union", budget=7),
    }
    archive.write(tmp_path / "t", "test", tree)
    back = archive.read(tmp_path / "t", {"test": lambda t: t})
    assert back["numbers"] == [
        float(v) if isinstance(v, np.float32) else v for v in tree["numbers"]
    ]
    assert [type(v) for v in back["numbers"]] == [int, bool, float, float, int, float, int]
    assert back["nested"] == tree["nested"]
    for one, two in zip(back["arrays"], tree["arrays"], strict=True):
        assert (one.dtype, one.shape) == (two.dtype, two.shape)
        assert np.array_equal(one, two)
    for name in ("kernel", "geometry", "solver"):
        assert back[name] == tree[name]
    assert archive.same(back["geometry"], tree["geometry"])
    assert not archive.same(back["geometry"], (0.1 + 3e-17) * jko.MMD(jko.kernels.Energy()))


class Particles(jko.Particles):
    """A measure from outside the library, with the name of one of its own."""


class Wasserstein(jko.Wasserstein):
    """A geometry from outside the library, with the name of one of its own."""


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {1, 2},
        {1: "a number as key"},
        1j,
        np.array(["text"]),
        np.array([None]),
        len,
        Particles([[0.0]]),
        Wasserstein(),
        Noisy(),
        measures.mixture(),
    ],
    ids=lambda v: type(v).__name__,
)
def test_what_is_not_ours_is_refused_not_mistaken(value, tmp_path):
    assert not archive.storable(value)
    with pytest.raises(jko.Unsupported, match="cannot be stored in a jko file"):
        archive.write(tmp_path / "x", "test", {"deep": [(value,)]})
    assert os.listdir(tmp_path) == []


# -- files that are not what they should be -------------------------------------------------------


def refused(path, match):
    """Both readers refuse the file in one line and leave it alone."""
    before = path.read_bytes() if path.is_file() else None
    for read in (jko.Trajectory.load, lambda p: jko.resume(p, ENERGY)):
        with pytest.raises(jko.InvalidFile, match=match) as error:
            read(path)
        assert "\n" not in str(error.value)
        assert str(path.name) in str(error.value)
    if before is not None:
        assert path.read_bytes() == before
        assert os.listdir(path.parent) == [path.name]


def test_every_truncation_is_refused(checkpoint):
    whole = checkpoint.read_bytes()
    lengths = {
        *range(40),
        *range(0, len(whole), len(whole) // 150),
        *range(len(whole) - 40, len(whole)),
    }
    for length in sorted(lengths):
        checkpoint.write_bytes(whole[:length])
        with pytest.raises(jko.InvalidFile, match=r"truncated.*left untouched"):
            jko.resume(checkpoint, ENERGY)
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        checkpoint.write_bytes(whole[:length])
        refused(checkpoint, "truncated")


def test_damaged_bytes_never_pass_for_a_run(checkpoint):
    whole = checkpoint.read_bytes()
    sound = jko.Trajectory.load(checkpoint)
    rng = np.random.default_rng(0)
    refusals = 0
    for _ in range(150):
        broken = bytearray(whole)
        broken[int(rng.integers(len(whole)))] ^= int(rng.integers(1, 256))
        checkpoint.write_bytes(broken)
        try:
            assert_same(jko.Trajectory.load(checkpoint), sound)  # a byte that carries nothing
        except jko.InvalidFile:
            refusals += 1
    assert refusals > 130


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


def test_foreign_files_are_refused_and_execute_nothing(tmp_path):
    mark, folder = tmp_path / "executed", tmp_path / "files"
    folder.mkdir()
    bomb = np.array([Bomb(mark), Bomb(mark)], dtype=object)
    path = folder / "run.npz"
    rng = np.random.default_rng(0)

    def savez(**members):
        with open(path, "wb") as file:
            np.savez(file, **members)

    def save(array):
        with open(path, "wb") as file:
            np.save(file, array)

    makers = {
        "random": lambda: path.write_bytes(rng.bytes(5000)),
        "text": lambda: path.write_text("index,value\n1,2\n"),
        "json": lambda: path.write_text(json.dumps({"format": "jko", "version": 1})),
        "pickle": lambda: path.write_bytes(pickle.dumps(Bomb(mark))),
        "npy": lambda: save(np.ones(3)),
        "object npy": lambda: save(bomb),
        "plain npz": lambda: savez(x=np.ones(3)),
        "empty npz": lambda: savez(),
        "object npz": lambda: savez(header=bomb, data=bomb),
        "other header": lambda: savez(header=np.ones(3), data=np.ones(3)),
        "number header": lambda: savez(header=np.frombuffer(b"[1, 2]", np.uint8), data=np.ones(3)),
    }
    for make in makers.values():
        make()
        refused(path, "is not a jko file, or it is truncated")
    assert not mark.exists()


def forged(path, change):
    """The file with its header changed."""
    with np.load(path) as members:
        header, data = json.loads(members["header"].tobytes()), members["data"]
    change(header)
    with open(path, "wb") as file:
        np.savez(file, header=np.frombuffer(json.dumps(header).encode(), np.uint8), data=data)


def settings_of(header):
    return header["body"]["dict"]["settings"]["dict"]


FORGERIES = {
    "newer": (lambda h: h.update(version=2), "has format version 2, this jko reads up to 1; upd"),
    "wordy version": (lambda h: h.update(version="1"), "is not a jko file"),
    "other format": (lambda h: h.update(format="ojk"), "is not a jko file"),
    "other kind": (lambda h: h.update(kind="recipe"), "holds a recipe, expected a"),
    "no body": (lambda h: h.pop("body"), "is damaged"),
    "empty body": (lambda h: h.update(body={"dict": {}}), "is damaged"),
    "no arrays": (lambda h: h.update(arrays=[]), "is damaged"),
    "array beyond": (lambda h: h["arrays"][0].update(start=10**9), "is damaged"),
    "array negative": (lambda h: h["arrays"][0].update(start=-8), "is damaged"),
    "object array": (lambda h: h["arrays"][0].update(dtype="|O"), "is damaged"),
    "shape": (lambda h: h["arrays"][0].update(shape=[3, -1]), "is damaged"),
    "huge shape": (lambda h: h["arrays"][0].update(shape=[2**40, 2**40]), "is damaged"),
    "steps": (
        lambda h: h["body"]["dict"]["trajectory"]["dict"].update(steps={"list": ["import os"]}),
        "is damaged",
    ),
}


@pytest.mark.parametrize("name", sorted(FORGERIES))
def test_forged_headers_are_refused(name, checkpoint):
    change, message = FORGERIES[name]
    forged(checkpoint, change)
    refused(checkpoint, message)


@pytest.mark.parametrize(
    "name", ["os.system", "subprocess.Popen", "solvers.ProxSolver", "prox.ProxProblem", "eval"]
)
def test_a_file_may_only_ask_for_the_librarys_settings(name, checkpoint):
    forged(
        checkpoint,
        lambda h: settings_of(h).update(geometries={"settings": name, "fields": {"args": "true"}}),
    )
    with pytest.raises(jko.InvalidFile, match="is damaged"):
        jko.resume(checkpoint, ENERGY)


@pytest.mark.parametrize("kind", ["BitGenerator", "RandomState", "load", "nothing"])
def test_random_generators_are_numpys(kind, checkpoint):
    forged(checkpoint, lambda h: h["body"]["dict"]["rng"]["dict"].update(bit_generator=kind))
    with pytest.raises(jko.InvalidFile, match="is damaged"):
        jko.resume(checkpoint, ENERGY)


def test_wrong_kinds_missing_files_and_folders(tmp_path):
    path = tmp_path / "sol.npz"
    bell, energy, geometry = (
        jko.Gaussian([0.0], 1.0),
        jko.KL(jko.Gaussian([1.0], 2.0)),
        jko.Wasserstein(),
    )
    jko.flow(bell, energy, geometry, tau=0.1, steps=1).save(path)
    with pytest.raises(jko.InvalidFile, match="holds a trajectory, expected a checkpoint") as no:
        jko.resume(path, energy)
    assert "jko.flow(jko.Trajectory.load(path), energy, geometry, tau=..." in str(no.value)
    assert len(jko.flow(jko.Trajectory.load(path), energy, geometry, tau=0.1, steps=1)) == 3
    for read in (jko.Trajectory.load, jko.resume):
        with pytest.raises(jko.InvalidFile, match=r"absent\.npz does not exist"):
            read(tmp_path / "absent.npz")
        with pytest.raises(jko.InvalidFile, match=r"folder|cannot read .* directory"):
            read(tmp_path)
        with pytest.raises(jko.InvalidArgument, match="path = None is not a path"):
            read(None)


def test_what_never_ends_is_refused_at_once(tmp_path):
    """Devices, pipes and sockets would be read for ever: they are refused unread."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for read in (jko.Trajectory.load, lambda p: jko.resume(p, ENERGY)):
        for path in ("/dev/zero", pipe):
            with pytest.raises(jko.InvalidFile, match="no regular file; copy it to one first"):
                read(path)
        for path in ("a\0b", "x" * 5000):
            with pytest.raises(jko.InvalidFile, match="cannot read"):
                read(path)
    for path in ("/dev/null", pipe):
        with pytest.raises(jko.InvalidFile, match="no regular file; pass another name"):
            fresh("gaussian").run(steps=1, checkpoint=path)


def npy_of(declared, content=b""):
    """The bytes of an array file whose header declares `declared` bytes."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "|u1", "fortran_order": False, "shape": (declared,)}
    )
    return buffer.getvalue() + content


def test_bombs_stay_small(tmp_path):
    """Members that unpack to gigabytes, or declare them, are refused before they are unpacked."""
    import tracemalloc

    path = tmp_path / "run.npz"

    def pack(compression, **members):
        with zipfile.ZipFile(path, "w", compression) as file:
            for name, content in members.items():
                file.writestr(f"{name}.npy", content)

    header = json.dumps({"format": "jko", "version": 1, "kind": "trajectory"}).encode()
    zeros = bytes(2**26)
    makers = {
        "deflated": lambda: pack(
            zipfile.ZIP_DEFLATED,
            header=npy_of(len(header), header),
            data=npy_of(len(zeros), zeros),
        ),
        "deflated header": lambda: pack(zipfile.ZIP_DEFLATED, header=npy_of(len(zeros), zeros)),
        "declared": lambda: pack(
            zipfile.ZIP_STORED, header=npy_of(len(header), header), data=npy_of(2**45)
        ),
        "declared header": lambda: pack(zipfile.ZIP_STORED, header=npy_of(2**45)),
        "nested": lambda: pack(zipfile.ZIP_STORED, header=npy_of(10**6, b"[" * 10**6)),
    }
    for make in makers.values():
        make()
        tracemalloc.start()
        refused(path, "is not a jko file, or it is truncated")
        assert tracemalloc.get_traced_memory()[1] < 2**24
        tracemalloc.stop()


def test_an_endless_hole_is_refused(tmp_path):
    path = tmp_path / "run.npz"
    with open(path, "wb") as file:
        file.truncate(2**43)  # a hole that takes no room on the disk
    with pytest.raises(jko.InvalidFile, match="more than this machine's memory"):
        jko.Trajectory.load(path)


def test_arrays_that_share_bytes_are_refused(checkpoint):
    """A small block that a million entries read over and over would fill the memory."""

    def repeat(header):
        first = header["arrays"][0]
        for place in header["arrays"]:
            place.update(start=0, shape=[10**9], dtype="|u1")
        first.update(shape=[64])

    forged(checkpoint, repeat)
    refused(checkpoint, "is damaged.*larger than the file")


def leaves(node, path=()):
    """Places of the plain values in a header."""
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items:
        if isinstance(value, (dict, list)):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key)


def test_altered_headers_are_refused_or_read(checkpoint):
    """Any plain value replaced by any other: a run or one sentence, never a raw error."""
    whole = checkpoint.read_bytes()
    with np.load(checkpoint) as members:
        places = list(leaves(json.loads(members["header"].tobytes())))
    rng = np.random.default_rng(0)
    values = [None, True, -1, 0, 10**40, 2.5, "text", [], {}, float("nan"), {"array": 0}, [[1]]]
    refusals = 0
    for k in rng.permutation(len(places))[:150]:
        *outer, last = places[k]

        def change(header, outer=outer, last=last):
            for key in outer:
                header = header[key]
            header[last] = values[int(rng.integers(len(values)))]

        checkpoint.write_bytes(whole)
        forged(checkpoint, change)
        for read in (jko.Trajectory.load, lambda p: jko.resume(p, ENERGY, callbacks=stop)):
            try:
                read(checkpoint)
            except jko.JkoError:
                refusals += 1
    assert refusals > 50


def stop(event):
    """A callback that ends the run after its next step."""
    return STOP


def test_what_is_handed_to_a_finished_run_is_checked(tmp_path):
    path = tmp_path / "run.npz"
    sol = fresh("particles").run(checkpoint=path)
    assert_same(jko.resume(path), sol)
    assert_same(jko.resume(path, ENERGY), sol)
    with pytest.raises(jko.InvalidArgument, match=r"energy = .* is not what the run used"):
        jko.resume(path, jko.Entropy())
    with pytest.raises(jko.InvalidArgument, match="it is not the one the run used"):
        jko.resume(path, jko.MMDEnergy(measures.particles(21, seed=3, shift=1.0), KERNEL))
    with pytest.raises(jko.InvalidArgument, match=r"geometry = .* is not what the run used"):
        jko.resume(path, ENERGY, 2.0 * jko.Hellinger())
