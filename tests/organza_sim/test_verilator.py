import shutil
import subprocess

import pytest

from organza_sim import cache as store
from organza_sim import verilator
from organza_sim.verilator import VerilatorError, compile_verilog

HELLO = """
module hello;
  initial begin
    $display("hello %0d", 6 * 7);
    $finish;
  end
endmodule
"""
pytestmark = pytest.mark.rtl


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """A new cache folder, with nothing but the runtime library, which takes long to compile."""
    compile_verilog([HELLO], "hello", optimize="-O0")
    kept = store.folder("verilator")
    # A blank in the path is what Verilator's own makefile cannot stand.
    monkeypatch.setenv("ORGANZA_CACHE", str(tmp_path / "a cache"))
    for runtime in kept.glob("*.o"):
        shutil.copy2(runtime, store.folder("verilator"))
    return store.folder("verilator")


def test_compile_once(empty_cache, monkeypatch):
    seen = []
    program = compile_verilog(
        [HELLO], "hello", optimize="-O0", progress=lambda *args: seen.append(args)
    )
    assert program.parent == empty_cache
    assert "hello 42" in subprocess.run([program], capture_output=True, text=True).stdout
    fractions = [fraction for _, fraction in seen]
    assert fractions == sorted(fractions) and fractions[0] == 0 and fractions[-1] == 1
    assert not list(empty_cache.glob("making-*"))

    monkeypatch.setattr(verilator, "_compile", None)  # a second compilation would now fail
    assert compile_verilog([HELLO], "hello", optimize="-O0") == program
    with pytest.raises(TypeError, match="NoneType"):
        compile_verilog([HELLO.replace("6", "7")], "hello", optimize="-O0")


def test_broken_verilog_is_reported(empty_cache):
    with pytest.raises(VerilatorError, match=r"(?s)^Verilator rejects the Verilog .*syntax error"):
        compile_verilog(["module hello; nonsense"], "hello")
    assert all(path.suffix == ".o" for path in empty_cache.iterdir())


def test_broken_cpp_is_reported(empty_cache):
    with pytest.raises(
        VerilatorError, match=r"(?s)^The C\+\+ compiler rejects the simulator .*nonsense"
    ):
        compile_verilog([HELLO], "hello", cpp={"main.cpp": "nonsense"})


def test_wrong_arguments():
    with pytest.raises(
        TypeError, match="^Sources must be a sequence of texts and paths, not 'module'$"
    ):
        compile_verilog("module", "hello")
    with pytest.raises(ValueError, match="^Sources must not be empty$"):
        compile_verilog([], "hello")


def test_missing_compiler(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    verilator.find.cache_clear()
    try:
        with pytest.raises(
            VerilatorError, match=r"^The C\+\+ compiler 'no-such-compiler' is not on the PATH"
        ):
            verilator.find()
    finally:
        verilator.find.cache_clear()


def test_cache_drops_what_was_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "KEEP", 3)
    for k in range(5):
        (tmp_path / "made").write_text(str(k))
        store.publish(tmp_path / "made", tmp_path / f"result{k}")
    assert len(list(tmp_path.iterdir())) == 3
    assert (tmp_path / "result4").read_text() == "4"


def test_digest_tells_parts_apart():
    assert store.digest("ab", "c") != store.digest("a", "bc")
    assert store.digest("a", b"b") == store.digest("a", "b")
