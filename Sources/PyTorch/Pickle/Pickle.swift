/// The values of a pickle, which are inert: nothing in it is imported, looked up or called.
///
/// Containers, objects, storages and tensors are rows of tables, and a value is a row number. So nesting causes no
/// recursion, cycles leak no memory, and a value takes 8 bytes. Use
/// ``PickleMachine/read(_:from:at:references:)`` to read one; `PickleContents.swift` has the accessors.
package struct Pickle: Sendable {
  /// A value. The numbers are rows of the tables below.
  package enum Value: Hashable, Sendable {
    case none
    case bool(Bool)
    /// An integer of 32 bits; larger ones are ``large(_:)``.
    case small(Int32)
    case large(UInt32)
    /// A number that cannot be a size: a float, or an integer beyond 64 bits.
    case number
    case text(UInt32)
    case bytes(UInt32)
    /// A class or function, by its name.
    case global(UInt32)
    /// A tuple, list (a set is one) or dictionary.
    case container(UInt32)
    /// The result of calling an unknown class or function.
    case object(UInt32)
    case storage(UInt32)
    case tensor(UInt32)
    /// A reference to data outside the pickle: a persistent id of unknown form.
    case external(UInt32)
  }

  /// A range of the pickle's bytes; positions beyond the end of ``Pickle/bytes`` are in ``Pickle/decoded``.
  package struct Text: Hashable, Sendable {
    package var start: UInt32
    package var count: UInt32
  }

  /// Several values.
  struct Container: Sendable {
    enum Kind: UInt8, Sendable {
      case tuple
      case list
      /// Keys and values, one after the other.
      case dictionary
    }

    var kind: Kind
    /// The first and the last of its segments; -1 where it has none.
    var first: Int32 = -1
    var last: Int32 = -1
    /// The number of items.
    var count: UInt32 = 0
  }

  /// A run of ``Pickle/items`` that belongs to one container.
  struct Segment: Sendable {
    var start: UInt32
    var count: UInt32
    var next: Int32
  }

  /// A call of a class or function, with its arguments. Rows of ``Pickle/containers``, or -1.
  struct Object: Sendable {
    /// The class or function: a global, or an object.
    var function: Value
    /// A tuple.
    var arguments: UInt32
    /// A dictionary of arguments by name.
    var keywords: Int32 = -1
    /// A list of its states, usually at most one: BUILD.
    var states: Int32 = -1
    /// A list: APPEND.
    var items: Int32 = -1
    /// A dictionary: SETITEM.
    var entries: Int32 = -1
  }

  /// A storage as its persistent id describes it.
  struct Storage: Sendable {
    /// The element type in the first reference to the key, which counts, as in torch.load.
    var type: ElementType
    var key: Text
    /// The number of elements.
    var count: UInt64
    /// The first element in the storage of that key, and that storage: the views of old files.
    var start: UInt64 = 0
    var root: Int32 = -1
  }

  /// A call that would make a tensor.
  struct Call: Sendable {
    var rebuild: Global.Rebuild
    /// The tuple of its arguments.
    var arguments: UInt32
    /// The tuple that is its state, a row of ``Pickle/containers``: BUILD. -1 without one.
    var state: Int32 = -1
    /// Its offset in the pickle.
    var position: UInt32
  }

  package let bytes: [UInt8]
  /// The offset of ``bytes`` in their file.
  package let offset: UInt64
  /// Texts that are spelled with escapes in the pickle, one after the other.
  var decoded: [UInt8] = []
  var integers: [Int64] = []
  var texts: [Text] = []
  var items: [Value] = []
  var segments: [Segment] = []
  var containers: [Container] = []
  var objects: [Object] = []
  var globals: [(meaning: Global, module: Text, name: Text)] = []
  var storages: [Storage] = []
  var tensors: [Call] = []
  var externals: [Value] = []
  /// The states of containers, which are attributes of their instances: rows of ``containers``, lists.
  var attributes: [UInt32: UInt32] = [:]
  /// How many of its items a deque keeps, the last ones: `maxlen`, by rows of ``containers``.
  var limits: [UInt32: Int] = [:]
  /// What the pickle describes.
  package var root = Value.none
  /// The end of the pickle in ``bytes``, after STOP; bytes after it are ignored.
  package var end = 0
  /// The number of bytes that were read.
  var size = 0

  init(_ bytes: [UInt8], at offset: UInt64) {
    self.bytes = bytes
    self.offset = offset
  }
}

// MARK: - Containers

extension Pickle {
  /// Adds an empty container.
  mutating func add(_ kind: Container.Kind) -> UInt32 {
    containers.append(Container(kind: kind))
    return UInt32(containers.count - 1)
  }

  /// Adds values to a container, in time proportional to their number.
  mutating func append(_ values: ArraySlice<Value>, to row: UInt32) {
    guard !values.isEmpty else { return }
    let start = UInt32(items.count)
    let count = UInt32(values.count)
    items += values
    containers[Int(row)].count += count
    let last = Int(containers[Int(row)].last)
    if last >= 0, segments[last].start + segments[last].count == start {
      segments[last].count += count
      return
    }
    segments.append(Segment(start: start, count: count, next: -1))
    let added = Int32(segments.count - 1)
    if last >= 0 { segments[last].next = added } else { containers[Int(row)].first = added }
    containers[Int(row)].last = added
  }

  /// The items of a container; of a dictionary keys and values in turn.
  func items(of row: UInt32) -> [Value] {
    var found: [Value] = []
    found.reserveCapacity(Int(containers[Int(row)].count))
    var segment = containers[Int(row)].first
    while segment >= 0 {
      let run = segments[Int(segment)]
      found += items[Int(run.start)..<Int(run.start) + Int(run.count)]
      segment = run.next
    }
    return found
  }
}
