internal import PyTorch
internal import Safetensors
internal import SystemPackage

/// A pickle that limits how many of its values a caller can read.
///
/// A pickle can refer to one long list a million times, in two bytes each. So each access is charged to a budget that is
/// proportional to the pickle's size. Time and memory for everything that the pickle describes are then proportional to it
/// too.
struct MeteredPickle {
  private let pickle: Pickle
  private let path: FilePath
  /// The number of values that may still be read.
  private var budget: Int

  /// Reads a file that holds a pickle. Executes nothing.
  init(reading path: FilePath) throws(ModelError) {
    let bytes = try SmallFile.bytes(of: path, what: "a checkpoint's metadata")
    pickle = try ModelError.translating("read", path) { try PickleMachine.read(bytes, at: 0) }
    self.path = path
    // Checkpoints from torch need a quarter of this budget.
    budget = 1 << 16 + 4 * bytes.count
  }

  /// The object that the pickle describes.
  var root: Pickle.Value { pickle.root }

  /// The full names of unknown classes and functions, without duplicates.
  var unknownGlobals: [[UInt8]] { pickle.unknownGlobals }

  /// Charges `count` values, or equal work, to the budget. Throws if the budget is used up.
  mutating func pay(for count: Int) throws(ModelError) {
    budget -= count
    guard budget >= 0 else {
      throw ModelError(
        .malformed, path,
        "invalid pickle: it expands to far more data than its size allows: repeated references; get another copy of it"
      )
    }
  }

  /// An attribute of an object, or nil.
  mutating func attribute(_ name: StaticString, of value: Pickle.Value?) throws(ModelError) -> Pickle.Value? {
    try pay(for: pickle.partCount(of: value))
    return pickle.attribute(name, of: value)
  }

  /// The items of a tuple or list; nil for another value.
  mutating func sequence(_ value: Pickle.Value?) throws(ModelError) -> [Pickle.Value]? {
    try pay(for: pickle.partCount(of: value))
    return pickle.sequence(value)
  }

  /// The keys and values of a dictionary; nil for another value.
  mutating func entries(_ value: Pickle.Value?) throws(ModelError)
    -> [(key: Pickle.Value, value: Pickle.Value)]?
  {
    try pay(for: pickle.partCount(of: value))
    return pickle.entries(value)
  }

  /// The bytes of a string; nil for another value.
  mutating func string(_ value: Pickle.Value?) throws(ModelError) -> ArraySlice<UInt8>? {
    guard let string = pickle.string(value) else { return nil }
    // Comparing a string takes less time than reading as many values.
    try pay(for: 1 + string.count / 8)
    return string
  }

  /// The items of a tuple or list if all of them are non-negative integers.
  mutating func counts(_ value: Pickle.Value?) throws(ModelError) -> [UInt64]? {
    guard let items = try sequence(value) else { return nil }
    let counts = items.compactMap { pickle.count($0) }
    return counts.count == items.count ? counts : nil
  }

  /// A non-negative integer; nil for another value.
  func count(_ value: Pickle.Value?) -> UInt64? { pickle.count(value) }

  /// The full name of an object's class; nil for another value.
  mutating func className(of value: Pickle.Value?) throws(ModelError) -> [UInt8]? {
    guard let name = pickle.className(of: value) else { return nil }
    try pay(for: name.count)
    return name
  }
}
