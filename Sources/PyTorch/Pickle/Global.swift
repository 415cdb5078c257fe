/// The meaning of a class or function that a pickle names. Nothing is ever imported or called: a known name is
/// a token that the machine interprets, and an unknown name makes inert objects.
enum Global: Equatable, Sendable {
  /// A class of storages.
  case storage(ElementType)
  /// An element type.
  case dtype(ElementType)
  /// A function that makes a tensor.
  case rebuild(Rebuild)
  /// A class of tensors, and their element type.
  case tensorClass(ElementType)
  /// A class whose instances are dictionaries.
  case dictionary
  /// `defaultdict`: as ``dictionary``, but its first argument is what makes missing values.
  case defaultDictionary
  /// `list` and `set`, which copy what their first argument holds.
  case list
  /// `deque`: as ``list``, with a greatest length as a second argument.
  case deque
  /// `tuple`, `frozenset` and `torch.Size`: as ``list``, but immutable.
  case tuple
  /// A function that returns its first argument.
  case identity
  /// A function or class that makes a parameter from a tensor, with autograd's arguments.
  case parameter
  /// `getattr`, which is harmless only for some names.
  case getattr
  /// A harmless name that is not listed.
  case silent
  /// Any other name.
  case unknown

  /// The functions that make tensors.
  enum Rebuild: Equatable, Sendable {
    case tensor
    case tensorV3
    /// A function, a class, the function's arguments, and attributes.
    case fromType
    /// An empty tensor of this type, which gets its elements as its state: PyTorch before 0.2.
    case empty(ElementType)
    /// A tensor of a device without storages, of which the file has a copy: the copy, its type, the device.
    case copied
    /// A tensor of tar files, by its key.
    case external
    /// A tensor whose elements are not its storage's elements.
    case unsupported(Omission.Kind)
  }

  /// The meaning of a name; `full` is the module and the name, joined by a dot.
  init(full: [UInt8], isTorchScript: Bool) {
    // The classes of TorchScript's modules, whose instances have their parameters as attributes.
    if isTorchScript, full.starts(with: "__torch__.".utf8) {
      self = .silent
    } else {
      self = Self.table[full] ?? .unknown
    }
  }
}
