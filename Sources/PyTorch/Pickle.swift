/// What a pickle describes, as inert values. Containers, storages and tensors are numbers of rows in tables, so
/// that no nesting makes anything recursive and cycles hold nothing alive.
struct Pickle {
  /// A value.
  enum Value {
    case none
    case bool(Bool)
    case integer(Int64)
    /// A string, or bytes; a part of the pickle.
    case text(Text)
    case global(Int32)
    case container(Int32)
    case storage(Int32)
    case tensor(Int32)
    /// Something that holds no tensor: a number of another kind, an array of NumPy.
    case inert
  }

  /// A run of the pickle's bytes.
  struct Text {
    var start: UInt32
    var count: UInt32
  }

  /// Several values.
  struct Container {
    enum Kind {
      case tuple
      case list
      /// Keys and values, one after the other.
      case dictionary
      /// The same: attributes, or items.
      case object
      /// One value: a list of pairs, as Python 2 pickles an OrderedDict.
      case pairs
    }

    var kind: Kind
    var items: [Value] = []
  }

  /// A storage as its persistent id describes it.
  struct Storage {
    var type: ElementType
    var key: Text
    /// The number of elements.
    var count: UInt64
    /// The first of them in the storage of that key: the views of old files.
    var start: UInt64
  }

  /// A call that would make a tensor.
  struct Call {
    var rebuild: Global.Rebuild
    /// The tuple of its arguments.
    var arguments: Int32
    /// Where it stands in the pickle.
    var position: Int
  }

  let bytes: [UInt8]
  /// Where the pickle begins in its file.
  let offset: UInt64
  var containers: [Container] = []
  var globals: [(meaning: Global, module: Text, name: Text)] = []
  var storages: [Storage] = []
  var tensors: [Call] = []
  /// What the pickle describes.
  var root = Value.none
  /// The size of the pickle, STOP included; what follows it in ``bytes`` is not looked at.
  var size = 0

  init(_ bytes: [UInt8], at offset: UInt64) {
    self.bytes = bytes
    self.offset = offset
  }

  /// The bytes of a text.
  subscript(text: Text) -> ArraySlice<UInt8> { bytes[Int(text.start)..<Int(text.start) + Int(text.count)] }

  /// The items of a tuple or list; nil of anything else.
  func sequence(_ value: Value?) -> [Value]? {
    guard case .container(let row)? = value else { return nil }
    let container = containers[Int(row)]
    return container.kind == .tuple || container.kind == .list ? container.items : nil
  }

  /// The value of a key of a dictionary; nil where it is none, or has no such key. Only a small one is looked
  /// through: it may be asked about a million times.
  func value(of key: String, in value: Value) -> Value? {
    guard case .container(let row) = value, containers[Int(row)].kind == .dictionary else { return nil }
    let items = containers[Int(row)].items.prefix(200)
    let position = stride(from: 0, to: items.count, by: 2).first {
      if case .text(let text) = items[$0] { self[text].elementsEqual(key.utf8) } else { false }
    }
    return position.map { items[$0 + 1] }
  }

  /// A number that is not negative; nil of anything else.
  func count(_ value: Value?) -> UInt64? {
    guard case .integer(let number)? = value else { return nil }
    return UInt64(exactly: number)
  }

  /// What a value stands for, where it is a global.
  func meaning(_ value: Value?) -> Global? {
    guard case .global(let row)? = value else { return nil }
    return globals[Int(row)].meaning
  }
}
