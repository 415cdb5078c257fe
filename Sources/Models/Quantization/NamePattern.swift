/// A regular expression from a configuration file. Matching takes time proportional to its size times the
/// name's.
///
/// Supports the part of Python's syntax that such files use: characters, `.`, classes, groups, `|`, `* + ?
/// {m,n}`, `^`, `$`, `\d \w \s` and lookahead. Anything else makes init return nil. Configurations are
/// untrusted, so matching simulates all states at once and never takes exponential time.
struct NamePattern: Sendable {
  private indirect enum Node {
    case bytes(ByteSet)
    case start
    case end
    case sequence([Node])
    case choice([Node])
    case repeated(Node, atLeast: Int, atMost: Int?)
    case ahead(Node, isWanted: Bool)
  }

  private enum Step: Sendable {
    case bytes(ByteSet)
    case start
    case end
    case split(Int, Int)
    case jump(Int)
    case ahead(NamePattern, isWanted: Bool)
    case match
  }

  private var steps: [Step] = []

  /// The maximum number of steps, and of nested groups.
  private static let maximumSteps = 500
  private static let maximumDepth = 50
  /// The maximum number of compiled nodes: nested repetitions of an empty group add no steps, but take time.
  private static let maximumWork = 5000
  private var work = 0

  /// Compiles an expression; nil if it uses unsupported syntax.
  init?(_ expression: String) {
    var parser = Parser(rest: Array(expression.utf8)[...])
    guard let node = parser.choice(depth: 0), parser.rest.isEmpty, add(node) else { return nil }
    steps.append(.match)
  }

  /// Compiles a glob: `*` matches anything, `?` one character.
  init?(glob: String) {
    var nodes: [Node] = []
    for byte in glob.utf8 {
      switch byte {
      case UInt8(ascii: "*"): nodes.append(.repeated(.bytes(.all), atLeast: 0, atMost: nil))
      case UInt8(ascii: "?"): nodes.append(.bytes(.all))
      default: nodes.append(.bytes(ByteSet([byte])))
      }
    }
    guard add(.sequence(nodes)) else { return nil }
    steps.append(.match)
  }

  private init?(_ node: Node, work: Int) {
    self.work = work
    guard add(node) else { return nil }
    steps.append(.match)
  }

  // MARK: - Matching

  /// The maximum length of a name, in bytes. Longer ones do not match.
  private static let maximumName = 4096

  /// True if the pattern matches a prefix of the name, like Python's `re.match`.
  func matchesPrefix(of name: ArraySlice<UInt8>) -> Bool {
    name.count <= Self.maximumName && matches(name, from: name.startIndex)
  }

  private func matches(_ name: ArraySlice<UInt8>, from start: Int) -> Bool {
    var current = States(count: steps.count)
    var next = States(count: steps.count)
    if enter(0, &current, name, start) { return true }
    var position = start
    while position < name.endIndex, !current.list.isEmpty {
      let byte = name[position]
      position += 1
      next.clear()
      for index in current.list {
        guard case .bytes(let set) = steps[index], set.contains(byte) else { continue }
        if enter(index + 1, &next, name, position) { return true }
      }
      swap(&current, &next)
    }
    return false
  }

  /// Adds a step, and those that follow it without consuming a character. True if the pattern ends there.
  private func enter(_ first: Int, _ states: inout States, _ name: ArraySlice<UInt8>, _ position: Int) -> Bool
  {
    guard states.insert(first) else { return false }
    switch steps[first] {
    case .match: return true
    case .bytes: return false
    case .jump(let target): return enter(target, &states, name, position)
    case .split(let left, let right):
      return enter(left, &states, name, position) || enter(right, &states, name, position)
    case .start: return position == name.startIndex && enter(first + 1, &states, name, position)
    case .end: return position == name.endIndex && enter(first + 1, &states, name, position)
    case .ahead(let pattern, let isWanted):
      return pattern.matches(name, from: position) == isWanted && enter(first + 1, &states, name, position)
    }
  }

  /// The current steps, without duplicates.
  private struct States {
    private(set) var list: [Int] = []
    private var isIn: [Bool]

    init(count: Int) { isIn = [Bool](repeating: false, count: count) }

    mutating func insert(_ index: Int) -> Bool {
      guard !isIn[index] else { return false }
      isIn[index] = true
      list.append(index)
      return true
    }

    mutating func clear() {
      for index in list { isIn[index] = false }
      list.removeAll(keepingCapacity: true)
    }
  }

  // MARK: - Compiling

  private mutating func add(_ node: Node) -> Bool {
    work += 1
    guard steps.count < Self.maximumSteps, work < Self.maximumWork else { return false }
    switch node {
    case .bytes(let set): steps.append(.bytes(set))
    case .start: steps.append(.start)
    case .end: steps.append(.end)
    case .ahead(let inner, let isWanted):
      guard let pattern = NamePattern(inner, work: work) else { return false }
      work = pattern.work
      steps.append(.ahead(pattern, isWanted: isWanted))
    case .sequence(let nodes):
      for node in nodes where !add(node) { return false }
    case .choice(let nodes):
      var ends: [Int] = []
      for (index, node) in nodes.enumerated() {
        let split = steps.count
        if index < nodes.count - 1 { steps.append(.jump(0)) }
        guard add(node) else { return false }
        if index < nodes.count - 1 {
          ends.append(steps.count)
          steps.append(.jump(0))
          steps[split] = .split(split + 1, steps.count)
        }
      }
      for end in ends { steps[end] = .jump(steps.count) }
    case .repeated(let inner, let least, let most):
      for _ in 0..<least where !add(inner) { return false }
      if let most {
        var splits: [Int] = []
        for _ in least..<max(least, most) {
          splits.append(steps.count)
          steps.append(.jump(0))
          guard add(inner) else { return false }
        }
        for split in splits { steps[split] = .split(split + 1, steps.count) }
      } else {
        let split = steps.count
        steps.append(.jump(0))
        guard add(inner) else { return false }
        steps.append(.jump(split))
        steps[split] = .split(split + 1, steps.count)
      }
    }
    return true
  }

  // MARK: - Parsing

  private struct Parser {
    var rest: ArraySlice<UInt8>
    /// Lookahead inside lookahead would take time proportional to a power of the name's length, so it is
    /// unsupported.
    private var isAhead = false

    init(rest: ArraySlice<UInt8>) { self.rest = rest }

    private mutating func take(_ text: String) -> Bool {
      guard rest.starts(with: text.utf8) else { return false }
      rest = rest.dropFirst(text.utf8.count)
      return true
    }

    mutating func choice(depth: Int) -> Node? {
      guard depth < NamePattern.maximumDepth else { return nil }
      var branches: [Node] = []
      repeat {
        guard let branch = sequence(depth: depth) else { return nil }
        branches.append(branch)
      } while take("|")
      return branches.count == 1 ? branches[0] : .choice(branches)
    }

    private mutating func sequence(depth: Int) -> Node? {
      var nodes: [Node] = []
      while let byte = rest.first, byte != UInt8(ascii: "|"), byte != UInt8(ascii: ")") {
        guard let atom = atom(depth: depth), let node = quantified(atom) else { return nil }
        nodes.append(node)
      }
      return .sequence(nodes)
    }

    private mutating func atom(depth: Int) -> Node? {
      if take("^") { return .start }
      if take("$") { return .end }
      if take(".") { return .bytes(.all) }
      if take("(?!") { return ahead(isWanted: false, depth: depth) }
      if take("(?=") { return ahead(isWanted: true, depth: depth) }
      if take("(?:") { return group(depth: depth) }
      if take("(?") { return nil }
      if take("(") { return group(depth: depth) }
      if take("[") { return byteClass() }
      if take("\\") { return escape().map { .bytes($0) } }
      guard let byte = rest.first, !"*+?{".utf8.contains(byte) else { return nil }
      rest = rest.dropFirst()
      return .bytes(ByteSet([byte]))
    }

    private mutating func ahead(isWanted: Bool, depth: Int) -> Node? {
      guard !isAhead else { return nil }
      isAhead = true
      defer { isAhead = false }
      return group(depth: depth).map { .ahead($0, isWanted: isWanted) }
    }

    private mutating func group(depth: Int) -> Node? {
      guard let inner = choice(depth: depth + 1), take(")") else { return nil }
      return inner
    }

    private mutating func quantified(_ atom: Node) -> Node? {
      var bounds: (Int, Int?)?
      if take("*") {
        bounds = (0, nil)
      } else if take("+") {
        bounds = (1, nil)
      } else if take("?") {
        bounds = (0, 1)
      } else if take("{") {
        guard let least = number() else { return nil }
        let most: Int? = take(",") ? (rest.first == UInt8(ascii: "}") ? nil : number()) : least
        guard take("}") else { return nil }
        bounds = (least, most)
      }
      guard let bounds else { return atom }
      // A lazy quantifier matches the same names.
      _ = take("?")
      return .repeated(atom, atLeast: bounds.0, atMost: bounds.1)
    }

    /// A number up to 999; larger ones are unsupported.
    private mutating func number() -> Int? {
      let digits = rest.prefix { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
      guard digits.count <= 3, let value = Int(String(decoding: digits, as: UTF8.self)) else { return nil }
      rest = rest.dropFirst(digits.count)
      return value
    }

    private mutating func escape() -> ByteSet? {
      guard let byte = rest.popFirst() else { return nil }
      switch byte {
      case UInt8(ascii: "d"): return .digits
      case UInt8(ascii: "D"): return ByteSet.digits.inverted
      case UInt8(ascii: "w"): return .word
      case UInt8(ascii: "W"): return ByteSet.word.inverted
      case UInt8(ascii: "s"): return .space
      case UInt8(ascii: "S"): return ByteSet.space.inverted
      // An escaped letter or digit has a meaning that is not supported.
      case _ where ByteSet.word.contains(byte) && byte != UInt8(ascii: "_"): return nil
      default: return ByteSet([byte])
      }
    }

    private mutating func byteClass() -> Node? {
      let isInverted = take("^")
      var set = ByteSet([])
      var isFirst = true
      while isFirst || rest.first != UInt8(ascii: "]") {
        isFirst = false
        guard let low = rest.popFirst() else { return nil }
        if low == UInt8(ascii: "\\") {
          guard let escaped = escape() else { return nil }
          set.formUnion(escaped)
        } else if rest.first == UInt8(ascii: "-"), rest.dropFirst().first != UInt8(ascii: "]") {
          rest = rest.dropFirst()
          guard let high = rest.popFirst(), high >= low, high != UInt8(ascii: "\\") else { return nil }
          set.formUnion(ByteSet(low...high))
        } else {
          set.formUnion(ByteSet([low]))
        }
      }
      rest = rest.dropFirst()
      return .bytes(isInverted ? set.inverted : set)
    }
  }
}

/// A set of byte values.
private struct ByteSet: Sendable {
  private var low: (UInt64, UInt64) = (0, 0)
  private var high: (UInt64, UInt64) = (0, 0)

  static let all = ByteSet([]).inverted
  static let digits = ByteSet(UInt8(ascii: "0")...UInt8(ascii: "9"))
  static let space = ByteSet([0x20, 0x09, 0x0A, 0x0B, 0x0C, 0x0D])
  /// Letters, digits, `_`, and all bytes beyond ASCII.
  static let word = {
    var set = ByteSet([UInt8(ascii: "_")])
    set.formUnion(digits)
    set.formUnion(ByteSet(UInt8(ascii: "a")...UInt8(ascii: "z")))
    set.formUnion(ByteSet(UInt8(ascii: "A")...UInt8(ascii: "Z")))
    set.formUnion(ByteSet(0x80...0xFF))
    return set
  }()

  init(_ bytes: some Sequence<UInt8>) {
    for byte in bytes {
      let bit = (1 as UInt64) << UInt64(byte & 63)
      switch byte >> 6 {
      case 0: low.0 |= bit
      case 1: low.1 |= bit
      case 2: high.0 |= bit
      default: high.1 |= bit
      }
    }
  }

  func contains(_ byte: UInt8) -> Bool {
    let word =
      switch byte >> 6 {
      case 0: low.0
      case 1: low.1
      case 2: high.0
      default: high.1
      }
    return word >> UInt64(byte & 63) & 1 == 1
  }

  mutating func formUnion(_ other: ByteSet) {
    low = (low.0 | other.low.0, low.1 | other.low.1)
    high = (high.0 | other.high.0, high.1 | other.high.1)
  }

  var inverted: ByteSet {
    var set = self
    set.low = (~low.0, ~low.1)
    set.high = (~high.0, ~high.1)
    return set
  }
}
