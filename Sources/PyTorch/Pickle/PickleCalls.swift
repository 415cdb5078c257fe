/// What calls and persistent ids in a pickle mean.
extension PickleMachine {
  /// The result of a call. With `isNew`, the class is instantiated without a call of its initialiser.
  mutating func call(
    _ function: Pickle.Value, _ arguments: Pickle.Value, isNew: Bool = false, keywords: Pickle.Value? = nil
  ) throws(FormatError) -> Pickle.Value {
    let row = try tuple(of: arguments)
    var object = Pickle.Object(function: function, arguments: row)
    if case .container(let names)? = keywords, pickle.containers[Int(names)].kind == .dictionary {
      object.keywords = Int32(names)
    } else if keywords != nil {
      throw error("a call's keyword arguments are not a dictionary")
    }
    switch function {
    case .global(let global):
      if refusedRows.contains(global) { throw refusal(of: global, isCalled: true) }
      if let known = try call(pickle.globals[Int(global)].meaning, row, isNew: isNew) { return known }
    case .object: break
    default: throw error("a call's target is not a class or function")
    }
    pickle.objects.append(object)
    return .object(UInt32(pickle.objects.count - 1))
  }

  /// The tuple of a call's arguments. TorchScript writes an enumeration's value without a tuple.
  private mutating func tuple(of arguments: Pickle.Value) throws(FormatError) -> UInt32 {
    if case .container(let row) = arguments, pickle.containers[Int(row)].kind == .tuple { return row }
    guard references == .torchScript else { throw error("a call's arguments are not a tuple") }
    let row = pickle.add(.tuple)
    pickle.append([arguments], to: row)
    return row
  }

  /// The result of a call of a known name; nil if it is an ordinary object.
  private mutating func call(_ meaning: Global, _ arguments: UInt32, isNew: Bool) throws(FormatError)
    -> Pickle.Value?
  {
    switch meaning {
    case .rebuild(let rebuild): return add(rebuild, arguments)
    case .tensorClass(let type):
      let data = first(of: arguments)
      if case .tensor? = data { return data }
      return add(data == nil ? .empty(type) : .unsupported(.inline), arguments)
    case .parameter:
      switch first(of: arguments) {
      case .tensor(let row)?:
        // A copy, so that the parameter's state does not change the original.
        pickle.tensors.append(pickle.tensors[Int(row)])
        return .tensor(UInt32(pickle.tensors.count - 1))
      case .object(let row)?: return .object(row)
      case .external(let row)?: return .external(row)
      case nil: return add(.empty(.float32), arguments)
      default: throw error("a parameter's data is not a tensor")
      }
    case .identity: return first(of: arguments) ?? Pickle.Value.none
    case .list: return try copy(first(of: arguments), as: .list, isEmpty: isNew)
    case .deque:
      let deque = try copy(first(of: arguments), as: .list, isEmpty: isNew)
      // A maximum length of None means no limit.
      if !isNew, case .container(let row)? = deque, pickle.containers[Int(arguments)].count == 2,
        let limit = pickle.count(pickle.items(of: arguments)[1])
      {
        pickle.limits[row] = Int(clamping: limit)
      }
      return deque
    case .tuple: return try copy(first(of: arguments), as: .tuple, isEmpty: false)
    case .dictionary: return try copy(first(of: arguments), as: .dictionary, isEmpty: isNew)
    case .defaultDictionary:
      // The factory of missing values, and the initial contents.
      let items = pickle.containers[Int(arguments)].count == 2 ? pickle.items(of: arguments) : []
      return try copy(items.last, as: .dictionary, isEmpty: isNew)
    case .getattr:
      // (object, name), and sometimes a default value.
      let items = pickle.containers[Int(arguments)].count > 3 ? [] : pickle.items(of: arguments)
      guard items.count >= 2, let name = pickle.string(items[1]) else {
        throw error("getattr without a literal attribute name")
      }
      if RefusedGlobals.contains(attribute: name) {
        throw FormatError(
          at: pickle.offset + UInt64(position),
          .global(name: Array("getattr of ".utf8) + name, isCalled: true))
      }
      return nil
    case .silent, .unknown: return nil
    case .storage, .dtype: throw error("it calls a storage class or a dtype, which PyTorch never does")
    }
  }

  private mutating func add(_ rebuild: Global.Rebuild, _ arguments: UInt32) -> Pickle.Value {
    pickle.tensors.append(Pickle.Call(rebuild: rebuild, arguments: arguments, position: UInt32(position)))
    return .tensor(UInt32(pickle.tensors.count - 1))
  }

  private func first(of row: UInt32) -> Pickle.Value? {
    let segment = pickle.containers[Int(row)].first
    return segment < 0 ? nil : pickle.items[Int(pickle.segments[Int(segment)].start)]
  }

  /// A copy of a container as another kind; nil if the items are unknown.
  private mutating func copy(_ source: Pickle.Value?, as kind: Pickle.Container.Kind, isEmpty: Bool)
    throws(FormatError) -> Pickle.Value?
  {
    var items: [Pickle.Value] = []
    if !isEmpty, case .container(let row)? = source {
      let other = pickle.containers[Int(row)].kind
      // Tuples are immutable, so they need no copy.
      if kind == .tuple, other == .tuple { return source }
      // A pickle can copy one list a million times. Honest writers make a new list for each call.
      copied += Int(pickle.containers[Int(row)].count)
      guard copied <= 1 << 16 + pickle.bytes.count else {
        throw error("it expands to far more data than its size allows: repeated copies of one list")
      }
      items = pickle.items(of: row)
      if kind == .dictionary, other != .dictionary {
        items = try pairs(items)
        for position in stride(from: 0, to: items.count, by: 2) {
          items[position] = interned(items[position])
        }
      }
      if kind != .dictionary, other == .dictionary { items = pickle.entries(of: row).map(\.key) }
    } else if !isEmpty, case .object? = source {
      return nil
    }
    let row = pickle.add(kind)
    pickle.append(items[...], to: row)
    return .container(row)
  }

  /// Converts a list of pairs to alternating keys and values. Python 2 pickles an OrderedDict as such a list.
  private func pairs(_ items: [Pickle.Value]) throws(FormatError) -> [Pickle.Value] {
    var pairs: [Pickle.Value] = []
    pairs.reserveCapacity(2 * items.count)
    for item in items {
      guard case .container(let row) = item, pickle.containers[Int(row)].kind != .dictionary,
        pickle.containers[Int(row)].count == 2
      else { throw error("a dictionary's items are not a list of pairs") }
      pairs += pickle.items(of: row)
    }
    return pairs
  }

  /// Records a tensor's state, see torch.Tensor.\_\_setstate\_\_. Before PyTorch 0.2, it contains the
  /// elements.
  mutating func build(tensor row: Int, _ state: Pickle.Value) throws(FormatError) {
    guard case .container(let tuple) = state, pickle.containers[Int(tuple)].kind != .dictionary else {
      // The attributes of a subclass.
      return
    }
    switch pickle.containers[Int(tuple)].count {
    // requires_grad, a value, and hooks; or only slots.
    case 2, 3: break
    case 4, 5: pickle.tensors[row].state = Int32(tuple)
    default: throw error("a tensor's state has an unknown form")
    }
  }

  // MARK: - Persistent ids

  /// The meaning of a persistent id: `("storage", class, key, location, count)`, which the legacy format
  /// extends with a sixth item, or `("module", class, file, source)`, which means the class.
  mutating func persistent(_ id: Pickle.Value) throws(FormatError) -> Pickle.Value {
    var items: [Pickle.Value] = []
    // A pickle can refer to a longer tuple a million times.
    if case .container(let row) = id, pickle.containers[Int(row)].count <= 6 {
      items = pickle.sequence(id) ?? []
    }
    if pickle.isString(items.first, "module"), items.count == 4, case .global = items[1] { return items[1] }
    if references == .kept {
      // (class, file, source).
      if items.count == 3, case .global = items[0] { return items[0] }
      pickle.externals.append(id)
      return .external(UInt32(pickle.externals.count - 1))
    }
    guard (5...6).contains(items.count), pickle.isString(items[0], "storage"),
      case .storage(let type)? = pickle.meaning(items[1]), let count = pickle.count(items[4])
    else { throw error("a persistent id does not describe a storage") }
    let root = try storage(items[2], type, count, inArchive: items.count == 5)
    guard items.count == 6, items[5] != .none else { return .storage(UInt32(root)) }
    // A view of that storage: its own key, its start, and its size.
    guard let view = pickle.sequence(items[5]), view.count == 3, let start = pickle.count(view[1]),
      let size = pickle.count(view[2])
    else { throw error("a persistent id describes an invalid view of a storage") }
    return .storage(UInt32(try storage(view[0], type, size, start: start, root: root, inArchive: false)))
  }

  /// The row of the storage with this key. The first reference decides its type and size. torch.load ignores
  /// later ones too, except for archives and storages without elements.
  private mutating func storage(
    _ key: Pickle.Value, _ type: ElementType, _ count: UInt64, start: UInt64 = 0, root: Int32 = -1,
    inArchive: Bool
  ) throws(FormatError) -> Int32 {
    guard case .text(let text) = key else {
      throw error("a storage's key is not a string")
    }
    var row = storageRowsOfTexts[text]
    var bytes: [UInt8] = []
    if row == nil {
      bytes = Array(pickle[pickle.texts[Int(text)]])
      row = storageRows[bytes]
    }
    if let row {
      let known = pickle.storages[Int(row)]
      if known.count > 0 || !inArchive || (known.type == type && count == 0) {
        storageRowsOfTexts[text] = row
        return row
      }
    }
    let added = Int32(pickle.storages.count)
    pickle.storages.append(
      Pickle.Storage(type: type, key: pickle.texts[Int(text)], count: count, start: start, root: root))
    storageRowsOfTexts[text] = added
    if !bytes.isEmpty || row == nil { storageRows[bytes] = added }
    return added
  }
}
