# SPDX-License-Identifier: BSD-3-Clause
"""Objects to and from configuration dictionaries, in the forms that Keras uses.

Written is the Keras 3 form::

    {"module": "keras.initializers", "class_name": "Zeros", "config": {}, "registered_name": None}

Read are that form, the same one of Keras 2.15, and the older ``{"class_name": ..., "config": ...}``
alone. Configurations are data: a name is looked up in our own tables and in the `custom_objects`
that the caller gives, nowhere else. Nothing is imported by name and no stored code is run.
"""

from collections.abc import Callable, Mapping

import numpy as np

from dwconv._checks import describe

# Top-level packages whose class names mean our own classes.
_KERAS_PACKAGES = ("keras", "tf_keras", "tensorflow", "dwconv")


def serialize_keras_object(
    obj: object, module: str, objects: Mapping[str, object]
) -> dict[str, object] | None:
    """Configuration of `obj` in the nested form of Keras 3.

    Parameters
    ----------
    obj : object or None
        Something with a ``get_config()`` method, or any callable. ``None`` gives ``None``.
    module : str
        Public Keras module of the built-in classes, for example ``"keras.initializers"``.
    objects : mapping of str to class
        The built-in classes by name.

    Returns
    -------
    dict or None
        With the keys ``module``, ``class_name``, ``config`` and ``registered_name``. A plain
        function is stored by name only and needs `custom_objects` to be read back.
    """
    if obj is None:
        return None
    if not hasattr(obj, "get_config") or isinstance(obj, type):
        return {
            "module": "builtins",
            "class_name": "function",
            "config": getattr(obj, "__name__", type(obj).__name__),
            "registered_name": "function",
        }
    name = type(obj).__name__
    builtin = objects.get(name) is type(obj)
    return {
        "module": module if builtin else type(obj).__module__,
        "class_name": name,
        "config": obj.get_config(),
        "registered_name": None if builtin else name,
    }


def deserialize_keras_object(
    identifier: str | Mapping[str, object],
    kind: str,
    objects: Mapping[str, object],
    custom_objects: Mapping[str, object] | None = None,
) -> object:
    """The object that a name or a configuration stands for.

    Parameters
    ----------
    identifier : str or dict
        A name, or one of the forms listed at the top of this module.
    kind : str
        What is looked for, in the words of error messages: ``"initializer"``, ...
    objects : mapping of str to class or function
        The built-in objects by name.
    custom_objects : mapping of str to class or function, optional
        Looked up first.

    Returns
    -------
    object
        An instance if the name is that of a class, else the object found.

    Raises
    ------
    ValueError
        If the name is unknown or the configuration malformed.
    TypeError
        If the configuration has a key that the class does not take.
    """
    if isinstance(identifier, str):
        names, module, arguments = [identifier], None, {}
    else:
        names, module, arguments = _parse(identifier, kind, objects)
    found = _find(names, module, objects, custom_objects or {})
    if found is None:
        raise unknown_identifier(identifier, kind, objects)
    if not isinstance(found, type):
        return found
    if hasattr(found, "from_config"):
        return found.from_config(arguments)
    return found(**arguments)


def get_keras_object(
    identifier: object,
    kind: str,
    objects: Mapping[str, object],
    custom_objects: Mapping[str, object] | None = None,
) -> Callable | None:
    """The callable meant by `identifier`: ``None``, name, configuration, class or callable.

    A class is instantiated without arguments, a callable returned as it is, ``None`` stays
    ``None``. Parameters and errors as in `deserialize_keras_object`; anything that does not
    lead to a callable is a `ValueError`.
    """
    if identifier is None:
        return None
    found = identifier
    if isinstance(identifier, (str, Mapping)):
        found = deserialize_keras_object(identifier, kind, objects, custom_objects)
    elif isinstance(identifier, type):
        found = identifier()
    if not callable(found):
        raise unknown_identifier(identifier, kind, objects)
    return found


def unknown_identifier(identifier: object, kind: str, objects: Mapping[str, object]) -> ValueError:
    """The error for an `identifier` that means nothing, in the words of Keras."""
    return ValueError(
        f"Could not interpret {kind} identifier: {describe(identifier)}. "
        f"It must be None, a callable, a configuration dict or one of {sorted(objects)}; "
        "other names must be given in `custom_objects`"
    )


def serialize_value(value: object) -> object:
    """`value` for a configuration: an array in the ``__numpy__`` form of Keras 3, others as is."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        content = {"value": value.tolist(), "dtype": value.dtype.name}
        return {"class_name": "__numpy__", "config": content}
    return value


def deserialize_value(value: object) -> object:
    """Inverse of `serialize_value`.

    Raises
    ------
    ValueError
        If `value` is a dictionary that does not describe an array.
    """
    if not isinstance(value, Mapping):
        return value
    content = value.get("config")
    if value.get("class_name") != "__numpy__" or not isinstance(content, Mapping):
        raise ValueError(f"Expected a number or an array. Received: value={describe(value)}")
    if content.get("dtype") not in ("float32", "float64") or "value" not in content:
        raise ValueError(
            "A stored array must have a `value` and a `dtype` float32 or float64. "
            f"Received: value={describe(value)}"
        )
    return np.array(content["value"], dtype=content["dtype"])


def _parse(
    configuration: Mapping[str, object], kind: str, objects: Mapping[str, object]
) -> tuple[list[str], str | None, dict[str, object]]:
    """Names to look up (best first), module and constructor arguments of a configuration."""
    name = configuration.get("class_name")
    arguments = configuration.get("config", {})
    if name == "function" and isinstance(arguments, str):
        # Somebody's own function, which may have the name of one of ours.
        return [arguments], "__main__", {}
    if not isinstance(name, str) or not isinstance(arguments, Mapping):
        raise unknown_identifier(configuration, kind, objects)
    registered, module = configuration.get("registered_name"), configuration.get("module")
    names = [registered, name] if isinstance(registered, str) else [name]
    return names, module, dict(arguments)


def _find(
    names: list[str],
    module: object,
    objects: Mapping[str, object],
    custom_objects: Mapping[str, object],
) -> object | None:
    for name in names:
        if name in custom_objects:
            return custom_objects[name]
    # A user's class may have the name of one of ours: its module tells them apart.
    if module is None or str(module).partition(".")[0] in _KERAS_PACKAGES:
        return objects.get(names[-1])
    return None
