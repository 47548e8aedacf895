"""Registries and components: how names become objects, and what a user reads when that fails."""

from __future__ import annotations

import pickle
import re
import sys
from abc import abstractmethod
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import ValidationError

from omnidistill.core import registry as core_registry
from omnidistill.core.errors import InputError
from omnidistill.core.registry import ComponentRegistry, Registry
from omnidistill.core.settings import Component, Positive, Settings

GROUP = "omnidistill.shapes"


class Shape(Component):
    """A test role."""

    @abstractmethod
    def area(self) -> float: ...


class Box(Settings):
    """A nested group of settings."""

    width: Positive = 1.0
    height: Positive = 1.0


class Square(Shape):
    """A square. It has four equal sides.

    More about squares.
    """

    side: Positive = 1.0
    """Length of a side."""
    corners: tuple[int, ...] = (1, 2)
    box: Box = Box()

    def area(self) -> float:
        return self.side**2


class Circle(Shape):
    """A circle."""

    radius: Positive

    def area(self) -> float:
        return 3 * self.radius**2


def lines(source: str, device: str) -> str:
    """Return both, joined."""
    return source + device


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module that registers `lines`, and notes each import."""
    name = "lazily_imported"
    (tmp_path / f"{name}.py").write_text(
        "from test_core_registry import loading\n\n@loading[0].register('lines')\ndef lines(): ...\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    sys.modules.pop(name, None)


loading: list[Registry[Any]] = []
"""The registry that the module of the fixture registers itself in."""


@pytest.fixture
def plain(module: str, monkeypatch: pytest.MonkeyPatch) -> Registry[Any]:
    registry: Registry[Any] = Registry("plotter", {"lines": module}, group=GROUP)
    monkeypatch.setitem(sys.modules, "test_core_registry", sys.modules[__name__])
    monkeypatch.setattr(sys.modules[__name__], "loading", [registry])
    points(monkeypatch)
    return registry


@pytest.fixture
def shapes(monkeypatch: pytest.MonkeyPatch) -> ComponentRegistry[Shape]:
    registry = ComponentRegistry("shape", Shape, {"square": __name__}, group=GROUP)
    registry.register("square")(Square)
    points(monkeypatch)
    return registry


def points(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    found = [EntryPoint(name, value, GROUP) for name, value in values.items()]
    monkeypatch.setattr(core_registry, "entry_points", lambda group: found if group == GROUP else [])


def test_built_in_entries_are_imported_when_they_are_used(plain: Registry[Any], module: str) -> None:
    assert plain.names() == ("lines",)
    assert "lines" in plain
    assert "line" not in plain
    assert module not in sys.modules
    assert plain.get("lines") is sys.modules[module].lines
    assert plain.get("lines") is plain.get("lines")
    assert plain.package("lines") is None


def test_a_built_in_module_that_registers_nothing(plain: Registry[Any]) -> None:
    registry: Registry[Any] = Registry("plotter", {"dots": "json"})
    with pytest.raises(LookupError, match="'dots': module json does not register this name"):
        registry.get("dots")


def test_entries_from_python_and_entry_points(plain: Registry[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    points(monkeypatch, bars=f"{__name__}:lines", absent=f"{__name__}:absent")
    plain.register("areas")(lines)
    assert plain.names() == ("lines", "absent", "areas", "bars")
    assert plain.get("bars") is plain.get("areas") is lines
    assert plain.package("bars") == plain.package("areas") == __name__.partition(".")[0]
    assert plain.list()["bars"] == "Return both, joined."
    assert plain.list()["absent"].startswith("plotter 'absent' from package")


def test_an_unknown_name_is_an_error_with_the_nearest(plain: Registry[Any]) -> None:
    message = r"^plotter 'lnes' is not installed; installed: lines; did you mean 'lines'\?$"
    with pytest.raises(InputError, match=message):
        plain.get("lnes")
    assert str(plain.missing("zzz")) == "plotter 'zzz' is not installed; installed: lines"


def test_a_registry_without_a_group_reads_no_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    points(monkeypatch, bars=f"{__name__}:lines")
    assert Registry("plotter", {}).names() == ()


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("no_such_package.x:y", r"ModuleNotFoundError: No module named 'no_such_package'"),
        (f"{__name__}:absent", r"AttributeError: "),
        ("plugin_that_raises:x", r"RuntimeError: no GPU"),
    ],
)
def test_an_entry_point_that_raises_is_an_error_of_one_line(
    plain: Registry[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str, why: str
) -> None:
    (tmp_path / "plugin_that_raises.py").write_text("raise RuntimeError('no\\nGPU')")
    points(monkeypatch, bad=value)
    package = re.split(r"[.:]", value)[0]
    with pytest.raises(
        InputError, match=rf"^plotter 'bad' from package '{package}' cannot be loaded \({why}"
    ) as caught:
        plain.get("bad")
    assert "\n" not in str(caught.value)
    assert plain.get("lines")  # the others still work


def test_a_name_can_be_registered_again_by_its_own_definition_only(plain: Registry[Any]) -> None:
    def define(module: str) -> Any:
        def plot() -> None: ...

        plot.__module__ = module
        return plot

    plain.register("bars")(define("one.plots"))
    again = plain.register("bars")(define("one.plots"))  # reloaded
    plain.register("bars")(define("__main__"))  # run as a script
    plain.register("bars")(again)
    with pytest.raises(
        InputError, match=r"^plotter 'bars' from package 'other': another plotter already has this name"
    ):
        plain.register("bars")(define("other.plots"))
    with pytest.raises(InputError, match=r"'lines' from package 'other': another plotter already has this name"):
        plain.register("lines")(define("other.plots"))
    assert plain.get("bars") is again


def test_only_callables_are_registered(plain: Registry[Any]) -> None:
    with pytest.raises(InputError, match="3 is not callable"):
        plain.register("three")(3)


def test_a_component_needs_the_base_class(shapes: ComponentRegistry[Shape]) -> None:
    with pytest.raises(InputError, match=r"^shape 'box' from package '.*': .*Box.* must be a subclass of .*\.Shape$"):
        shapes.register("box")(Box)
    with pytest.raises(InputError, match="must be a subclass of"):
        shapes.register("circle")(Circle(radius=1.0))


def test_a_component_needs_every_abstract_method(shapes: ComponentRegistry[Shape]) -> None:
    class Blob(Shape):
        pass

    if not getattr(Blob, "__abstractmethods__", None):
        pytest.fail("Component classes are not abstract base classes")
    with pytest.raises(InputError, match=r"'blob' from package '.*': class Blob does not define area, which every"):
        shapes.register("blob")(Blob)
    assert "blob" not in shapes


def test_registering_sets_kind_and_package(shapes: ComponentRegistry[Shape], monkeypatch: pytest.MonkeyPatch) -> None:
    points(monkeypatch, circle=f"{__name__}:Circle")
    circle = shapes.get("circle")(radius=2.0)
    assert (Square.kind, Square.package) == ("square", None)
    assert (circle.kind, circle.package) == ("circle", __name__.partition(".")[0])
    assert Square().model_dump() == {"kind": "square", "side": 1.0, "corners": (1, 2), "box": Box().model_dump()}
    assert circle.model_dump() == {"kind": "circle", "package": circle.package, "radius": 2.0}
    assert shapes.list() == {"square": "A square. It has four equal sides.", "circle": "A circle."}


def test_build_accepts_a_name_a_table_or_an_instance(shapes: ComponentRegistry[Shape]) -> None:
    square = shapes.build({"kind": "square", "side": 3, "corners": [4], "box": {"width": 2.0}})
    assert square == Square(side=3.0, corners=(4,), box=Box(width=2.0))
    assert shapes.build("square") == Square()
    assert shapes.build(square) is square
    assert shapes.build(square.model_dump()) == square
    assert shapes.build(square.model_dump(mode="json")) == square


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("sqare", InputError, r"^shape 'sqare' is not installed; installed: square; did you mean 'square'\?$"),
        ({"kind": "hexagon", "package": "bees", "side": 1}, InputError,
         r"^shape 'hexagon' is not installed; installed: square; install the package 'bees', which provides it$"),
        ({"side": 1.0}, InputError, r"^shape: expected a name, or a dict .* the key 'kind', found \{'side': 1.0\}$"),
        (3, InputError, r"^shape: expected a name, or a dict \(in TOML: a table\) with the key 'kind', found 3$"),
        ({"kind": "square", "radius": 1.0}, ValidationError, r"radius\n  Extra inputs are not permitted"),
        ({"kind": "square", "side": -1.0}, ValidationError, r"side\n  Input should be greater than 0"),
        ({"kind": "square", "side": "1"}, ValidationError, r"side\n  Input should be a valid number"),
        ({"kind": "square", "side": float("nan")}, ValidationError, r"side\n  "),
    ],
)  # fmt: skip
def test_build_refuses(shapes: ComponentRegistry[Shape], spec: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        shapes.build(spec)


def test_a_registry_is_the_type_of_a_settings_field(shapes: ComponentRegistry[Shape]) -> None:
    class Drawing(Settings):
        shape: Annotated[Shape, shapes]
        others: tuple[Annotated[Shape, shapes], ...] = ()

    drawing = Drawing(shape="square", others=({"kind": "square", "side": 2.0}, Square(side=3.0)))
    assert (drawing.shape, [other.area() for other in drawing.others]) == (Square(), [4.0, 9.0])
    assert drawing.model_dump(mode="json")["shape"]["kind"] == "square"
    assert Drawing.model_validate_json(drawing.model_dump_json()) == drawing
    with pytest.raises(ValidationError, match=r"shape\n  Value error, shape 'sqare' is not installed"):
        Drawing(shape="sqare")
    with pytest.raises(ValidationError, match="Input should be greater than 0"):
        Drawing(shape={"kind": "square", "side": 0.0})


def test_components_can_be_pickled_and_compared(shapes: ComponentRegistry[Shape]) -> None:
    square = Square(side=2.0, box=Box(width=3.0))
    copy = pickle.loads(pickle.dumps(square))
    assert copy == square
    assert (copy.kind, copy.area()) == ("square", 4.0)
    assert hash(copy) == hash(square)
    assert square.citations() == ()


def test_evolve_validates_like_a_new_object(shapes: ComponentRegistry[Shape]) -> None:
    square = Square(side=2.0, box=Box(width=3.0))
    changed = square.evolve(side=4.0)
    assert (square.side, changed.side, changed.box) == (2.0, 4.0, square.box)
    assert type(changed) is Square
    with pytest.raises(InputError, match=r"^side: Input should be greater than 0$"):
        square.evolve(side=0.0)
    with pytest.raises(InputError, match=r"^radius: Extra inputs are not permitted$"):
        square.evolve(radius=1.0)
    with pytest.raises(InputError, match=r"^corners\.0: Input should be a valid integer$"):
        square.evolve(corners=("a",))
    with pytest.raises(ValidationError):
        square.side = 1.0  # type: ignore[misc]


def test_evolve_reports_the_message_of_a_component(shapes: ComponentRegistry[Shape]) -> None:
    class Drawing(Settings):
        shape: Annotated[Shape, shapes]

    drawing = Drawing(shape="square")
    assert drawing.evolve(shape=Square(side=2.0)).shape.area() == 4.0
    with pytest.raises(InputError, match=r"^shape 'sqare' is not installed; installed: square; did you mean"):
        drawing.evolve(shape="sqare")
