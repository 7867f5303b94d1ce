"""Reading and writing TFLite files as trees of plain objects."""


def schema():
    """The module of the TFLite format's classes."""
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


def read(content):
    """The model in the bytes of a TFLite file, as a tree of objects."""
    return schema().ModelT.InitFromPackedBuf(bytearray(content), 0)


def write(model):
    """The bytes of a TFLite file."""
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def operator_name(model, operator):
    """`"SOFTMAX"` for a builtin operator; `"CUSTOM:Name"` for any other."""
    builtins = schema().BuiltinOperator
    code = model.operatorCodes[operator.opcodeIndex]
    # Up to version 3a of the format small codes are in a field of one byte.
    builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
    if builtin == builtins.CUSTOM:
        return f"CUSTOM:{code.customCode.decode()}"
    return next(name for name, value in vars(builtins).items() if value == builtin)


def subgraphs_of(model, signature_name):
    """The subgraphs that a signature runs: its own, and those of its loops and branches."""
    first = next(
        definition.subgraphIndex
        for definition in model.signatureDefs
        if definition.signatureKey.decode() == signature_name
    )
    reached, todo = [], [first]
    while todo:
        index = todo.pop()
        if index in reached:
            continue
        reached.append(index)
        for operator in model.subgraphs[index].operators:
            options = operator.builtinOptions
            todo += [
                value
                for key, value in vars(options or object).items()
                if key.lower().endswith("subgraphindex")
            ]
    return [model.subgraphs[index] for index in reached]
