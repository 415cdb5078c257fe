/// The meaning of a class or function that a pickle names. Nothing is ever imported or called: the machine
/// interprets known names, and unknown names produce inert objects.
enum Global: Equatable, Sendable {
  /// A storage class.
  case storage(ElementType)
  /// An element type.
  case dtype(ElementType)
  /// A function that creates a tensor.
  case rebuild(Rebuild)
  /// A class of tensors with this element type.
  case tensorClass(ElementType)
  /// A class whose instances are dictionaries.
  case dictionary
  /// `defaultdict`: like ``dictionary``, but the first argument is the factory of missing values.
  case defaultDictionary
  /// `list` and `set`: copies of their first argument.
  case list
  /// `deque`: like ``list``, with a maximum length as the second argument.
  case deque
  /// `tuple`, `frozenset` and `torch.Size`: like ``list``, but immutable.
  case tuple
  /// A function that returns its first argument.
  case identity
  /// A function or class that makes a parameter from a tensor and autograd's arguments.
  case parameter
  /// `getattr`, which is refused for some attribute names.
  case getattr
  /// A harmless name, which is not reported as unknown.
  case silent
  /// Any other name.
  case unknown

  /// The functions that create tensors.
  enum Rebuild: Equatable, Sendable {
    case tensor
    case tensorV3
    /// Calls another function; arguments: the function, a class, the function's arguments, attributes.
    case fromType
    /// An empty tensor of this type. Before PyTorch 0.2, its state contains its elements.
    case empty(ElementType)
    /// A tensor on a device without storages, saved as a copy; arguments: the copy, its type, the device.
    case copied
    /// A tensor of a tar file, identified by its key.
    case external
    /// A tensor whose elements are not the elements of its storage.
    case unsupported(Omission.Kind)
  }

  /// The meaning of a name; `full` is the module and the name, joined by a dot.
  init(full: [UInt8], isTorchScript: Bool) {
    // Classes of TorchScript modules. Their instances hold parameters as attributes.
    if isTorchScript, full.starts(with: "__torch__.".utf8) {
      self = .silent
    } else {
      self = Self.table[full] ?? .unknown
    }
  }
}
