import pytest

from steer.hooks._instead import instead


class _Dog:
    def speak(self) -> str:
        return "woof"


def test_a_method_of_the_class_is_back_afterwards() -> None:
    dog, other = _Dog(), _Dog()
    with instead(dog, "speak", lambda: "meow"):
        assert dog.speak() == "meow"
        assert other.speak() == "woof"
    assert dog.speak() == "woof"
    assert vars(dog) == {}


def test_an_attribute_of_the_instance_is_back_afterwards() -> None:
    dog = _Dog()
    dog.speak = own = lambda: "growl"  # type: ignore[method-assign]
    with instead(dog, "speak", lambda: "meow"):
        assert dog.speak() == "meow"
    assert vars(dog) == {"speak": own}


def test_an_attribute_that_is_none_is_none_afterwards() -> None:
    dog = _Dog()
    dog.speak = None  # type: ignore[assignment]
    with instead(dog, "speak", lambda: "meow"):
        assert dog.speak() == "meow"
    assert vars(dog) == {"speak": None}


def test_an_exception_inside_is_passed_on_and_leaves_nothing() -> None:
    dog = _Dog()
    with pytest.raises(ValueError, match="^cat$"), instead(dog, "speak", lambda: "meow"):
        raise ValueError("cat")
    assert vars(dog) == {}


def test_blocks_nest() -> None:
    dog = _Dog()
    with instead(dog, "speak", lambda: "meow"):
        with instead(dog, "speak", lambda: "moo"):
            assert dog.speak() == "moo"
        assert dog.speak() == "meow"
    assert dog.speak() == "woof"
    assert vars(dog) == {}
