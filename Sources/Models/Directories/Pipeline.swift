internal import Safetensors
internal import SystemPackage

extension ModelDirectory {
  /// The layout of a diffusers pipeline: the components that model_index.json names, or, if it names none, all directories
  /// with weights. Leaves out components without weights (tokenizer, scheduler), and adds other directories with weights to
  /// `notes`. Components without the variant are shown without it, if another component has it. Nil if no component has
  /// weights.
  func pipelineLayout(notes: inout [String]) throws(ModelError) -> Layout? {
    let named = try componentNames()
    var pipeline = Pipeline(of: self)
    for name in names where isDirectory(name) {
      let directory = try ModelDirectory(scanning: child(name), variant: variant)
      if named.contains(name) || named.isEmpty {
        try pipeline.add(name, directory, notes: &notes)
      } else {
        pipeline.leaveOut(name, directory)
      }
    }
    if let variant, !pipeline.variants.contains(variant), !pipeline.isEmpty {
      throw noVariant(variant, among: pipeline.variants)
    }
    guard !pipeline.components.isEmpty else {
      if let undecided = pipeline.undecided { throw undecided }
      return nil
    }
    let missing = named.subtracting(names).sorted { compareBytes($0[...], $1[...]) < 0 }
    if !missing.isEmpty { notes.append(self.missing(components: missing)) }
    let left = pipeline.left + names.filter { isLeftOut($0) && !isDirectory($0) }
    if !left.isEmpty { notes.append(leftOut(besideComponents: left)) }
    return .components(pipeline.components)
  }

  /// The names of the components' directories in model_index.json, existing or not.
  private func componentNames() throws(ModelError) -> Set<[UInt8]> {
    let index = try PipelineIndex(opening: path.appending("model_index.json"))
    var named = index.components
    let existing = Set(names)
    for name in index.lists {
      // diffusers names the first model after the component, and the others NAME_1, NAME_2, ….
      for number in 1...max(1, names.count) {
        let next = name + "_\(number)".utf8
        guard existing.contains(next), isDirectory(next) else { break }
        named.insert(next)
      }
    }
    return named
  }
}

/// The components of a pipeline that were found so far.
private struct Pipeline {
  /// The pipeline's directory, for messages.
  private let parent: ModelDirectory
  /// The components with weights.
  private(set) var components: [(name: [UInt8], layout: ModelDirectory.Layout)] = []
  /// Why a component with weights has no layout.
  private(set) var undecided: ModelError?
  /// Directories of weights that are not components.
  private(set) var left: [[UInt8]] = []
  /// The variants of the components' models.
  private(set) var variants: Set<String> = []

  init(of parent: ModelDirectory) { self.parent = parent }

  /// True if no component has weights.
  var isEmpty: Bool { components.isEmpty && undecided == nil }

  /// Adds a component, if it has weights.
  mutating func add(_ name: [UInt8], _ directory: ModelDirectory, notes: inout [String]) throws(ModelError) {
    guard directory.hasWeights else {
      let foreign = directory.names.filter(ForeignFiles.isWeights)
      if !foreign.isEmpty {
        notes.append(parent.leftOut(component: name, foreign: foreign))
      } else if directory.contains("config.json") {
        // Components that never have weights describe themselves under other names, such as scheduler_config.json.
        notes.append(parent.leftOut(componentWithoutWeights: name))
      }
      return
    }
    do throws(ModelError) {
      variants.formUnion(directory.variants)
      components.append((name, try directory.modelLayout(requiresVariant: false, notes: &notes)))
    } catch {
      // The other components are still decided; the note names the choices.
      guard error.isAmbiguous || error.kind == .noSource else { throw error }
      notes.append(parent.leftOut(undecided: error))
      undecided = error
    }
  }

  /// Remembers a directory that model_index.json does not name, if it has weights.
  mutating func leaveOut(_ name: [UInt8], _ directory: ModelDirectory) {
    if directory.hasWeights || ForeignFiles.isWeights(name)
      || directory.names.contains(where: ForeignFiles.isWeights)
    {
      left.append(name)
    }
  }
}

extension ModelDirectory {
  /// True if it has files or indexes of weights that stmount reads.
  fileprivate var hasWeights: Bool { names.contains { isFamilyFile($0) || ModelIndex.isIndex($0) } }
}
