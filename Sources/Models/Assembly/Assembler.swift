internal import Safetensors
internal import SystemPackage

/// Assembles tensors from slices in several shards, and makes a model of them.
struct Assembler {
  /// A tensor of a shard, which may be a slice of a larger tensor.
  struct Slice {
    /// The name of the whole tensor.
    let name: TensorName
    let place: Model.Place
    /// The index of the slice's first element in the whole tensor; nil if the tensor is not a slice.
    let start: [UInt64]?
  }

  private let shards: [Shard]
  /// The directory of the checkpoint, for messages.
  private let path: FilePath
  private var places: [Model.Place] = []
  private var assembled: [AssembledTensor] = []

  init(_ shards: [Shard], _ path: FilePath) {
    self.shards = shards
    self.path = path
  }

  /// Adds all tensors, sorted by name. `shapes` has the shapes of whole tensors; a tensor that it lacks ends, in each
  /// dimension, where the last of its slices ends.
  mutating func add(_ slices: [Slice], shapes: [TensorName: [UInt64]] = [:]) throws(ModelError) {
    let slices = slices.sorted { $0.name < $1.name }
    var position = 0
    while position < slices.count {
      let name = slices[position].name
      let end = slices[position...].firstIndex { $0.name != name } ?? slices.count
      try add(name, slices[position..<end], shape: shapes[name])
      position = end
    }
  }

  private mutating func add(_ name: TensorName, _ slices: ArraySlice<Slice>, shape: [UInt64]?)
    throws(ModelError)
  {
    if slices.count > 1, slices.allSatisfy({ $0.start == nil }) {
      let files = slices.map { shards[Int($0.place.shard)].file }
      let (file, first) = (files[1], files[0].path.printable)
      guard !file.isOpenedAs(files[0].status) else {
        throw ModelError(.malformed, file.path, "this is the same file as \(first); name it once")
      }
      throw ModelError(
        .malformed, file.path,
        "tensor \(name) is also in \(first); if these are two models, name one of them")
    }
    guard let first = slices.first.map({ tensor(of: $0) }) else { return }
    var boxes: [AssembledTensor.Box] = []
    var whole = shape ?? first.shape.map { _ in 0 }
    for slice in slices {
      let tensor = tensor(of: slice)
      let start = slice.start ?? tensor.shape.map { _ in 0 }
      guard start.count == tensor.shape.count, start.count == whole.count else {
        throw problem(name, "has slices with different numbers of dimensions, one", slice)
      }
      guard tensor.dtype == first.dtype else {
        throw problem(name, "has slices of different dtypes, one", slice)
      }
      for (dimension, extent) in tensor.shape.enumerated() {
        let (end, overflow) = start[dimension].addingReportingOverflow(extent)
        guard !overflow, shape == nil || end <= whole[dimension] else {
          throw problem(name, "has a slice that exceeds its shape,", slice)
        }
        whole[dimension] = max(whole[dimension], end)
      }
      boxes.append(AssembledTensor.Box(place: slice.place, start: start, shape: tensor.shape))
    }
    if boxes.count == 1, boxes[0].start.allSatisfy({ $0 == 0 }), boxes[0].shape.elementsEqual(whole) {
      places.append(boxes[0].place)
      return
    }
    do throws(AssembledTensor.Problem) {
      assembled.append(try AssembledTensor(name: name, dtype: first.dtype, shape: whole, boxes))
    } catch {
      throw problem(name, error.clause)
    }
    // The shard of assembled tensors comes after all others.
    places.append(Model.Place(shard: Int32(shards.count), index: Int32(assembled.count - 1)))
  }

  /// The model of all added tensors.
  func model() throws(ModelError) -> Model {
    var all = shards
    if !assembled.isEmpty {
      guard let header = Header(computed: assembled.map(\.tensor), metadata: Model.commonMetadata(shards))
      else {
        throw ModelError(.malformed, path, "its tensors' names and shapes are too long; use shorter names")
      }
      all.append(Shard(Assembly(tensors: assembled, shards: shards), described: header))
    }
    return Model(
      shards: all, places: places, warnings: shards.flatMap(\.warnings), omitted: shards.flatMap(\.omitted))
  }

  private func tensor(of slice: Slice) -> Tensor {
    shards[Int(slice.place.shard)].header[Int(slice.place.index)]
  }

  /// The error for a tensor whose slices contradict each other; names the file of `slice`.
  private func problem(_ name: TensorName, _ clause: String, _ slice: Slice? = nil) -> ModelError {
    let place = slice.map { " in \(shards[Int($0.place.shard)].file.path.printable)" } ?? ""
    return ModelError(
      .malformed, path, "tensor \(name) of the distributed checkpoint (DCP) \(clause)\(place)")
  }
}
