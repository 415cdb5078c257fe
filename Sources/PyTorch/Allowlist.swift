/// What a global of a pickle stands for. Nothing is ever called or looked up: each name on the list is a token
/// that the machine knows what to make of.
enum Global: Equatable, Sendable {
  /// A class of storages.
  case storage(ElementType)
  /// An element type.
  case dtype(ElementType)
  /// A function that makes a tensor.
  case rebuild(Rebuild)
  /// `torch.Tensor` and the classes that add nothing to it.
  case tensorClass
  /// A class whose instances are dictionaries.
  case dictionary
  /// A class or function that gives what its first argument holds, in a row.
  case sequence
  /// A class whose instances' attributes may hold tensors.
  case object
  /// A class or function of values that hold no tensors.
  case inert

  /// The functions that make tensors.
  enum Rebuild: Equatable, Sendable {
    case tensor
    case tensorV3
    /// A parameter is its first argument, with what autograd adds.
    case parameter
    /// A function, a class, the function's arguments, and attributes.
    case fromType
    /// A tensor that is not its storage's elements at some strides.
    case unsupported(String)
  }

  /// The token of a name; nil where it is not on the list.
  init?(module: some Collection<UInt8>, name: some Collection<UInt8>, isTorchScript: Bool) {
    // The classes of TorchScript's modules, whose instances have their parameters as attributes.
    if isTorchScript, module.elementsEqual("__torch__".utf8) || module.starts(with: "__torch__.".utf8) {
      self = .object
      return
    }
    guard let known = Self.table[Array(module) + [UInt8(ascii: ".")] + Array(name)] else { return nil }
    self = known
  }

  /// By bytes: Swift's strings take some letters for others.
  private static let table: [[UInt8]: Global] = {
    var table: [[UInt8]: Global] = [:]
    func add(_ global: Global, _ names: [String]) { for name in names { table[Array(name.utf8)] = global } }
    for (name, type) in ElementType.storageClasses { add(.storage(type), ["torch.\(name)"]) }
    add(.storage(.uint8), ["torch.storage.UntypedStorage", "torch.storage._UntypedStorage"])
    for type in ElementType.allCases { add(.dtype(type), ["torch.\(type.rawValue)"]) }
    for (name, rebuild) in rebuilds { add(.rebuild(rebuild), ["torch._utils.\(name)"]) }
    add(.rebuild(.fromType), ["torch._tensor._rebuild_from_type_v2", "torch._tensor._rebuild_from_type"])
    add(
      .tensorClass,
      ["torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer"])
    add(.dictionary, ["collections.OrderedDict", "collections.defaultdict", "collections.Counter"])
    add(.sequence, ["torch.Size", "collections.deque"])
    for name in ["intlist", "doublelist", "boollist", "tensorlist"] {
      add(.sequence, ["torch.jit._pickle.build_\(name)"])
    }
    add(.sequence, ["torch.jit._pickle.restore_type_tag"])
    for module in ["builtins", "__builtin__"] {
      add(.dictionary, ["\(module).dict"])
      add(.sequence, ["set", "frozenset", "list", "tuple"].map { "\(module).\($0)" })
      add(
        .inert,
        [
          "int", "float", "bool", "str", "bytes", "bytearray", "complex", "object", "slice", "range", "long",
          "unicode",
        ].map {
          "\(module).\($0)"
        })
    }
    for module in ["numpy.core.multiarray", "numpy._core.multiarray"] {
      add(.inert, ["\(module).scalar", "\(module)._reconstruct"])
    }
    add(.inert, inertNames)
    add(.object, objectNames)
    return table
  }()

  private static let rebuilds: KeyValuePairs<String, Rebuild> = [
    "_rebuild_tensor": .tensor, "_rebuild_tensor_v2": .tensor, "_rebuild_tensor_v3": .tensorV3,
    "_rebuild_parameter": .parameter, "_rebuild_parameter_with_state": .parameter,
    "_rebuild_qtensor": .unsupported("quantized"), "_rebuild_sparse_tensor": .unsupported("sparse"),
    "_rebuild_sparse_csr_tensor": .unsupported("sparse"), "_rebuild_nested_tensor": .unsupported("nested"),
    "_rebuild_meta_tensor_no_storage": .unsupported("meta"),
    "_rebuild_wrapper_subclass": .unsupported("wrapped"),
    "_rebuild_device_tensor_from_numpy": .unsupported("device"),
    "_rebuild_device_tensor_from_cpu_tensor": .unsupported("device"),
  ]

  /// What stands in training checkpoints beside the tensors.
  private static let inertNames = [
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
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
    "pytorch_lightning.callbacks.early_stopping.EarlyStopping", "pyannote.audio.core.task.Problem",
    "pyannote.audio.core.task.Resolution",
  ]

  private static let objectNames = [
    "argparse.Namespace", "types.SimpleNamespace", "pytorch_lightning.utilities.parsing.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict", "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig", "omegaconf.base.ContainerMetadata", "omegaconf.base.Metadata",
    "omegaconf.nodes.AnyNode", "pyannote.audio.core.model.Introspection",
    "pyannote.audio.core.task.Specifications",
  ]
}
