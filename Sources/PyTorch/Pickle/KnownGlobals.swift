/// The table of known names.
extension Global {
  /// Keyed by bytes, because Swift strings treat some different letters as equal.
  static let table: [[UInt8]: Global] = {
    var table: [[UInt8]: Global] = [:]
    func add(_ global: Global, _ names: [String]) { for name in names { table[Array(name.utf8)] = global } }
    for (name, type) in ElementType.storageClasses {
      // torch.load ignores the module of a storage class. Files saved from a GPU once had torch.cuda.
      add(.storage(type), ["torch.\(name)", "torch.cuda.\(name)"])
    }
    add(.storage(.uint8), ["torch.storage.UntypedStorage", "torch.storage._UntypedStorage"])
    for type in ElementType.allCases { add(.dtype(type), ["torch.\(type.rawValue)"]) }
    for (name, rebuild) in rebuilds { add(.rebuild(rebuild), ["torch._utils.\(name)"]) }
    // PyTorch 1.7 and 1.8 called this module torch.tensor; torch.load knows both names.
    for module in ["torch._tensor", "torch.tensor"] {
      add(.rebuild(.fromType), ["_rebuild_from_type_v2", "_rebuild_from_type"].map { "\(module).\($0)" })
    }
    add(.tensorClass(.float32), ["torch.Tensor", "torch._tensor.Tensor"])
    add(.parameter, ["torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer"])
    add(.parameter, ["torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"])
    // The class of tensors with gradients before PyTorch 0.4. Parameters are a subclass.
    add(.parameter, ["torch.autograd.variable.Variable"])
    for (name, type) in ElementType.storageClasses where name != "UntypedStorage" {
      add(.tensorClass(type), ["torch." + name.replacing("Storage", with: "Tensor")])
    }
    add(.dictionary, ["collections.OrderedDict", "collections.Counter"])
    add(.defaultDictionary, ["collections.defaultdict"])
    add(.deque, ["collections.deque"])
    add(.tuple, ["torch.Size"])
    for name in ["intlist", "doublelist", "boollist", "tensorlist"] {
      add(.identity, ["torch.jit._pickle.build_\(name)"])
    }
    add(.identity, ["torch.jit._pickle.restore_type_tag"])
    for module in ["builtins", "__builtin__"] {
      add(.dictionary, ["\(module).dict"])
      add(.list, ["\(module).list", "\(module).set"])
      add(.tuple, ["\(module).tuple", "\(module).frozenset"])
      add(.getattr, ["\(module).getattr"])
      let types = [
        "int", "float", "bool", "str", "bytes", "bytearray", "complex", "object", "slice", "range", "long",
        "unicode", "xrange",
      ]
      add(.silent, types.map { "\(module).\($0)" })
    }
    for package in ["numpy.core", "numpy._core"] {
      add(
        .silent,
        ["multiarray.scalar", "multiarray._reconstruct", "numeric._frombuffer"].map { "\(package).\($0)" })
    }
    add(.silent, silentNames)
    return table
  }()

  private static let rebuilds: KeyValuePairs<String, Rebuild> = [
    "_rebuild_tensor": .tensor, "_rebuild_tensor_v2": .tensor, "_rebuild_tensor_v3": .tensorV3,
    "_rebuild_qtensor": .unsupported(.quantized), "_rebuild_sparse_tensor": .unsupported(.sparse),
    "_rebuild_sparse_csr_tensor": .unsupported(.sparse), "_rebuild_nested_tensor": .unsupported(.nested),
    "_rebuild_meta_tensor_no_storage": .unsupported(.meta),
    "_rebuild_wrapper_subclass": .unsupported(.wrapped),
    "_rebuild_device_tensor_from_numpy": .unsupported(.device),
    "_rebuild_device_tensor_from_cpu_tensor": .copied,
    "_rebuild_xla_tensor": .unsupported(.device), "_rebuild_mlc_tensor": .unsupported(.device),
  ]

  /// Harmless names in training checkpoints.
  private static let silentNames = [
    "torch.device", "torch.per_tensor_affine", "torch.per_channel_affine", "torch.per_tensor_symmetric",
    "torch.per_channel_symmetric", "torch.per_channel_affine_float_qparams", "torch.strided",
    "torch.sparse_coo", "torch.sparse_csr",
    "torch.serialization._get_layout", "torch.contiguous_format", "torch.preserve_format",
    "torch.channels_last", "_codecs.encode", "numpy.ndarray", "numpy.dtype", "numpy.bool_", "numpy.float16",
    "numpy.float32", "numpy.float64", "numpy.int8", "numpy.int16", "numpy.int32", "numpy.int64",
    "numpy.uint8",
    "numpy.uint16", "numpy.uint32", "numpy.uint64", "pathlib.Path", "pathlib.PosixPath",
    "pathlib.PurePosixPath",
    "pathlib.WindowsPath", "pathlib._local.PosixPath", "pathlib._local.WindowsPath", "datetime.datetime",
    "datetime.timedelta", "datetime.date", "torch.torch_version.TorchVersion", "typing.Any",
    "decimal.Decimal", "uuid.UUID",
    "argparse.Namespace", "types.SimpleNamespace", "copy_reg._reconstructor", "copyreg._reconstructor",
    "datetime.timezone", "datetime.time",
  ]
}
