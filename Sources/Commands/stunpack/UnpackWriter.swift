import Glibc
import Linux
import Models
import Synchronization
import SystemPackage
import TensorFiles

/// Executes a plan: several files at a time, each of which appears under its name when it is complete.
final class UnpackWriter: Sendable {
  private let plan: UnpackPlan
  private let progress: Mutex<Progress>
  private let signals = BlockedSignals()
  /// The files that have appeared.
  private let published = Mutex<[FilePath]>([])

  /// A writer of a checked plan. From here on signals are blocked.
  init(_ plan: UnpackPlan) {
    self.plan = plan
    progress = Mutex(Progress("stunpack", total: plan.byteCount))
  }

  /// Writes. After an error, no written file remains, except those that replaced others.
  func run() throws {
    var made: [FilePath] = []
    do {
      defer { progress.withLock { $0.clear() } }
      for path in [plan.directory] + plan.directories.map(plan.path) {
        if try makeDirectory(path) { made.append(path) }
      }
      let tensors = plan.files.count { $0.tensor != nil }
      try ParallelWork.run(tensors) { [self] index in try write(plan.files[index]) }
      for file in plan.files[tensors...] { try write(file) }
    } catch {
      if !plan.replaces {
        for path in published.withLock({ $0 }) { _ = unsafe path.withPlatformString { unsafe unlink($0) } }
      }
      for path in made.reversed() { _ = unsafe path.withPlatformString { unsafe rmdir($0) } }
      throw error
    }
  }

  /// Makes a directory: mkdir(2). False if it exists already.
  private func makeDirectory(_ path: FilePath) throws(Failure) -> Bool {
    if unsafe path.withPlatformString({ unsafe mkdir($0, 0o777) }) == 0 { return true }
    let error = Errno(rawValue: errno)
    guard error != .fileExists else { return false }
    let parent = path.removingLastComponent().printable
    throw Failure(
      status: error == .permissionDenied ? EX_NOPERM : EX_CANTCREAT,
      "\(path.printable): cannot create it: \(error)"
        + (error == .noSuchFileOrDirectory ? "; create \(parent) first: mkdir -p \(parent)" : ""))
  }

  private func write(_ file: UnpackPlan.File) throws {
    let path = plan.path(file.path)
    let output = try OutputFile(for: OutputPath(path, replaces: plan.replaces))
    var writer = LayoutWriter(to: output, capacity: file.layout.byteCount, heeding: signals)
    try writer.write(file.layout, 0..<file.layout.byteCount, of: file.tensor) { count in
      progress.withLock { $0.add(count) }
    }
    try writer.flush()
    try signals.check()
    try output.publish(replaces: plan.replaces)
    published.withLock { $0.append(path) }
  }
}
