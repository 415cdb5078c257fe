import ArgumentParser
import Glibc
import Linux
import Logging

/// The command line of mount.stmount(8), which mount(8) calls: SOURCE MOUNTPOINT [-sfnvrw] [-N NS] [-o OPTIONS] [-t TYPE].
///
/// The letters are those of mount(8) and not those of stmount(1): `-f` is "fake" here.
struct MountHelper: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "mount.stmount",
    abstract: "Mount a safetensors model, for mount(8) and fstab(5).",
    usage: "mount.stmount SOURCE MOUNTPOINT [-sfnvrw] [-o OPTIONS] [-t TYPE]",
    version: "mount.stmount \(stmountVersion)",
    helpNames: [.long, .customShort("h")])

  @Argument(help: ArgumentHelp("A file, an index or a directory.", valueName: "SOURCE"))
  var source: String

  @Argument(help: ArgumentHelp("The directory to mount it on.", valueName: "MOUNTPOINT"))
  var mountPoint: String

  @Option(
    name: .customShort("o", allowingJoined: true),
    help: ArgumentHelp("Mount options, separated by commas.", valueName: "OPTIONS"))
  var mountOptions: [String] = []

  @Flag(name: .customShort("s"), help: "Ignore unknown options.")
  var isSloppy = false

  @Flag(name: .customShort("f"), help: "Check the source and the options, but mount nothing.")
  var isFake = false

  @Flag(name: .customShort("v"), help: "Log more.")
  var isVerbose = false

  @Flag(name: .customShort("n"), help: "Accepted; stmount writes no mtab.")
  var hasNoTable = false

  @Flag(name: .customShort("r"), help: "Accepted; every mount is read-only.")
  var isReadOnly = false

  @Flag(name: .customShort("w"), help: "Accepted; every mount is read-only.")
  var isWritable = false

  @Option(name: .customShort("t"), help: ArgumentHelp("Accepted.", valueName: "TYPE"))
  var type: String?

  @Option(
    name: .customShort("N"), help: ArgumentHelp("Refused: run in that namespace instead.", valueName: "NS"))
  var namespace: String?

  static func main() {
    Signals.letQuit()
    run(Stmount.arguments) { helper throws(Failure) in try helper.mount() }
  }

  /// Mounts, in the background.
  func mount() throws(Failure) {
    guard namespace == nil else {
      throw Failure(status: EX_USAGE, "-N is not supported: use nsenter --mount=… mount instead")
    }
    var invocation = try Invocation([source, mountPoint], mountOptions: mountOptions, isSloppy: isSloppy)
    invocation.isFake = isFake
    if isVerbose { invocation.logLevel = min(invocation.logLevel, .info) }
    try invocation.run()
  }
}
