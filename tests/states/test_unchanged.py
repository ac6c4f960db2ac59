"""Whether a job still consists of the same objects: the compiled function and its twin agree."""

import pytest

from jobstore import _states_c, _states_py

TWINS = pytest.mark.parametrize("twin", [_states_c, _states_py], ids=["compiled", "python"])


class Point:
    __slots__ = "x", "y"


class Subclass(Point):
    __slots__ = ("z",)


class Plain:
    x = y = 1


def point(x=None, y=None):
    made = Point()
    made.x, made.y = x, y
    return made


def parts(twin, job, options, trigger, items):
    slots = twin.Slots(Point, ["x", "y"])
    flat = tuple(each for item in options.items() for each in item)
    return (slots, slots.read(job), options, flat, trigger, slots, slots.read(trigger), *items)


@TWINS
def test_slots_are_read_of_exact_instances_with_values(twin):
    slots = twin.Slots(Point, ["y", "x"])
    assert slots.read(point(1, 2)) == (2, 1)
    assert twin.Slots(Subclass, ["x"]).read(point(1)) is None
    assert slots.read(Subclass()) is None
    assert slots.read(Point()) is None
    assert slots.read(None) is None
    assert twin.Slots(Point, []).read(point()) == ()


@TWINS
def test_only_slots_are_slots(twin):
    for owner, name in [(Plain, "x"), (Point, "__doc__"), (type, "__basicsize__")]:
        with pytest.raises(TypeError, match="is no slot"):
            twin.Slots(owner, [name])
    for owner, names, error in [(Point, ["z"], AttributeError), (1, [], TypeError)]:
        with pytest.raises(error):
            twin.Slots(owner, names)

    class Meta(type):
        def __getattr__(cls, name):
            return Point.x

    with pytest.raises(TypeError, match="is no slot"):
        twin.Slots(Meta("Other", (), {}), ["x"])


@TWINS
def test_change_of_any_part_is_noticed(twin):
    trigger, listed, options = point(1, 2), [object(), object()], {"a": object(), "b": object()}
    job = point(trigger, "y")

    def taken():
        return parts(twin, job, options, trigger, (listed, tuple(listed)))

    known = taken()
    assert twin.is_unchanged(job, known) is True

    def notices(change, undo):
        change()
        assert twin.is_unchanged(job, known) is False
        undo()
        assert twin.is_unchanged(job, known) is True

    a, b, last = options["a"], options["b"], listed[-1]
    notices(lambda: setattr(job, "y", "other"), lambda: setattr(job, "y", "y"))
    notices(lambda: delattr(job, "y"), lambda: setattr(job, "y", "y"))
    notices(lambda: setattr(job, "x", point(1, 2)), lambda: setattr(job, "x", trigger))
    notices(lambda: setattr(trigger, "x", 1.0), lambda: setattr(trigger, "x", 1))
    notices(lambda: options.update(a=object()), lambda: options.update(a=a))
    notices(lambda: options.update(c=1), lambda: options.pop("c"))
    notices(lambda: options.pop("b"), lambda: options.update(b=b))
    notices(lambda: options.update(a=options.pop("a")), lambda: options.update(b=options.pop("b")))
    notices(lambda: listed.append(last), lambda: listed.pop())
    notices(lambda: listed.reverse(), lambda: listed.reverse())
    notices(lambda: listed.pop(), lambda: listed.append(last))
    assert twin.is_unchanged(point(trigger, "y"), known) is True  # another job of the same parts
    for other in (None, 1, Plain(), Subclass(), Point()):
        assert twin.is_unchanged(other, known) is False


@TWINS
def test_class_of_a_trigger_counts(twin):
    class Other:
        __slots__ = "x", "y"

    trigger = point(1, 2)
    job = point(trigger, 1)
    known = parts(twin, job, {}, trigger, (None, ()))
    trigger.__class__ = Other
    assert twin.is_unchanged(job, known) is False
    trigger.__class__ = Point
    assert twin.is_unchanged(job, known) is True


@TWINS
def test_parts_of_another_form_are_no_parts(twin):
    job, marker = point(1, 2), object()
    known = parts(twin, job, {}, point(1, 2), ([marker], (marker,)))
    assert twin.is_unchanged(job, known) is True
    for value in (None, 1, "x", (), (1,), [], [1], {}, {1: 2}, object(), known, Point()):
        for place in range(len(known)):
            damaged = (*known[:place], value, *known[place + 1 :])
            are_equal = place in (2, 3) and value == known[place]
            has_no_list = place == 7 and value is None
            assert twin.is_unchanged(job, damaged) is (are_equal or has_no_list), (place, value)
        assert value is known or twin.is_unchanged(job, value) is False
    for length in range(len(known)):
        assert twin.is_unchanged(job, known[:length]) is (length == 4)
    assert twin.is_unchanged(job, list(known)) is False
