/// The values of a pickle. They are inert: nothing is imported, looked up or called.
///
/// Containers, objects, storages and tensors are rows of tables, and a value is a row number. So nesting
/// causes no recursion, cycles leak no memory, and a value takes 8 bytes.
/// ``PickleMachine/read(_:from:at:references:)`` reads a pickle; PickleContents.swift has the accessors.
package struct Pickle: Sendable {
  /// A value. Its numbers are rows of the tables below.
  package enum Value: Hashable, Sendable {
    case none
    case bool(Bool)
    /// An integer of 32 bits; ``large(_:)`` has the others.
    case small(Int32)
    case large(UInt32)
    /// A number that cannot be a size: a float, or an integer of more than 64 bits.
    case number
    case text(UInt32)
    case bytes(UInt32)
    /// A class or function, identified by its name.
    case global(UInt32)
    /// A tuple, list, set or dictionary. Sets are stored as lists.
    case container(UInt32)
    /// The result of calling an unknown class or function.
    case object(UInt32)
    case storage(UInt32)
    case tensor(UInt32)
    /// A reference to data outside the pickle: a persistent id of unknown form.
    case external(UInt32)
  }

  /// A range of the pickle's bytes. Positions beyond the end of ``Pickle/bytes`` are in ``Pickle/decoded``.
  package struct Text: Hashable, Sendable {
    package var start: UInt32
    package var count: UInt32
  }

  /// A tuple, list or dictionary.
  struct Container: Sendable {
    enum Kind: UInt8, Sendable {
      case tuple
      case list
      /// Keys and values alternate.
      case dictionary
    }

    var kind: Kind
    /// The first and the last of its segments; -1 if it has none.
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

  /// A call of a class or function. Numbers are rows of ``Pickle/containers``, or -1.
  struct Object: Sendable {
    /// The class or function: a global, or an object.
    var function: Value
    /// The tuple of positional arguments.
    var arguments: UInt32
    /// The dictionary of keyword arguments.
    var keywords: Int32 = -1
    /// The list of its states (BUILD), usually at most one.
    var states: Int32 = -1
    /// The list of items added with APPEND.
    var items: Int32 = -1
    /// The dictionary of items added with SETITEM.
    var entries: Int32 = -1
  }

  /// A storage, as described by its persistent id.
  struct Storage: Sendable {
    /// The element type. As in torch.load, the first reference to the key decides it.
    var type: ElementType
    var key: Text
    /// The number of elements.
    var count: UInt64
    /// For a view in a file of the legacy format: its first element in the storage `root`. -1 is no view.
    var start: UInt64 = 0
    var root: Int32 = -1
  }

  /// A call that creates a tensor.
  struct Call: Sendable {
    var rebuild: Global.Rebuild
    /// The tuple of its arguments.
    var arguments: UInt32
    /// The tuple of its state (BUILD), a row of ``Pickle/containers``; -1 without one.
    var state: Int32 = -1
    /// The offset of the call in the pickle.
    var position: UInt32
  }

  package let bytes: [UInt8]
  /// The offset of ``bytes`` in the file.
  package let offset: UInt64
  /// Texts that are written with escapes in the pickle, decoded, one after the other.
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
  /// The states of containers: attributes of instances of list or dict subclasses. Rows of ``containers``.
  var attributes: [UInt32: UInt32] = [:]
  /// The maximum length of each deque (`maxlen`), by rows of ``containers``. A deque keeps its last items.
  var limits: [UInt32: Int] = [:]
  /// The object that the pickle describes.
  package var root = Value.none
  /// The end of the pickle in ``bytes``, after STOP. Later bytes are ignored.
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

  /// Appends values to a container, in time proportional to their number.
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

  /// The items of a container. For a dictionary, keys and values alternate.
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
