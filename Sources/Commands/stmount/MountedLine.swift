import FUSE
import Glibc
import Linux
import Models
import Safetensors
import SystemPackage

/// The messages about a mount on a terminal: one line when it is made, and what the mount hides.
enum MountedLine {
  /// What was mounted where, and the views, with a newline.
  static func text(
    of collection: ModelCollection, on mountPoint: String, source: FilePath, isDequantized: Bool
  ) -> String {
    let models = collection.components.map(\.model)
    let tensors = PrintableText.counted(models.reduce(0) { $0 + $1.places.count }, "tensor")
    let bytes = models.map(\.totalSize).clampedSum
    let size = bytes < 1024 ? PrintableText.counted(bytes, "byte") : TensorTable.human(bytes)
    let views = isDequantized ? ".npy .f32 .safetensors .dequant" : ".npy .f32 .safetensors"
    return
      "mounted \(PrintableText.plain(source.fileName)) (\(tensors), \(size)) on \(mountPoint); views: \(views)\n"
  }

  /// What the mount will hide, as clauses.
  static func warnings(_ place: MountPoint, shownAs name: String, sources: [FilePath]) -> [String] {
    var lines: [String] = []
    if let source = sources.first(where: place.contains) {
      lines.append("the mount on \(name) hides its own source \(source.printable) until it is unmounted")
    } else if (try? place.path.entries().isEmpty) == false {
      lines.append("mount point \(name) is not empty: what is in it is hidden until it is unmounted")
    }
    return lines
  }
}
