import Linux
import SystemPackage

/// The executable of this package, which has several names: stmount(1), the other commands, and mount.stmount(8).
///
/// The linked-in Swift runtime makes it large (about 18 MB), so the commands share one file, as in busybox(1).
@main enum Main {
  /// Runs the command that this process was called by; a name that is not known is stmount.
  static func main() {
    // No file of a model may get the number of standard error, or messages would be written into it.
    StandardStreams.openClosed()
    OpenFileLimit.raise()
    switch CalledCommand.name {
    case "stcat": Stcat.main()
    case "stdiff": Stdiff.main()
    case "stls": Stls.main()
    case "stpack": Stpack.main()
    case "stunpack": Stunpack.main()
    case let name? where name.hasPrefix("mount."): MountHelper.main()
    default: Stmount.main()
    }
  }
}
