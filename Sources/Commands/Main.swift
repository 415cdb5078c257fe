import Linux
import SystemPackage

/// The one executable of this package, which is called by several names: stmount(1) and its kin, mount.stmount(8).
///
/// A statically linked Swift program is 16 MB, so that the commands share one, as those of busybox(1) do.
@main enum Main {
  /// Runs the command that this process was called by; a name that is not known is stmount.
  static func main() {
    // No file of a model may get the number of standard error, for messages to be written into.
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
