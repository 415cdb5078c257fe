import Fixtures
import Glibc
import SystemPackage

/// A mount namespace in which unprivileged users may mount, whatever the machine's /dev/fuse and /etc/fuse.conf allow:
/// unshare(1). Processes outside do not see its mounts.
///
/// Scripts in it can use `$directory`, which belongs to the test; `$model` and `$stmount`; `$mnt`, which belongs to
/// `nobody`; `as_nobody`, which runs a command as that user; and `ends PID`, which waits until a process ends, and prints
/// an error if it does not end. The model's first tensor is in `$directory/w`.
struct PrivateNamespace {
  let directory: TemporaryDirectory

  /// The user and group `nobody`.
  static let nobody: UInt32 = 65_534

  private static let preamble = """
    set -eu
    directory=$1; shift
    model=$directory/m.safetensors; stmount=$directory/bin/stmount; mnt=$directory/mnt
    # Releases other tests' mounts, which this namespace inherited.
    umount -a -l -t fuse.stmount 2>/dev/null || :
    mount -t tmpfs tmpfs "$directory/dev"
    mknod "$directory/dev/fuse" c 10 229
    chmod 666 "$directory/dev/fuse"
    mount --bind "$directory/dev/fuse" /dev/fuse
    # The file is missing if nobody has changed it.
    [ -e /etc/fuse.conf ] && mount --bind "$directory/fuse.conf" /etc/fuse.conf
    trap 'umount -l "$mnt" 2>/dev/null || :' EXIT
    as_nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups -- "$@"; }
    daemon() { for p in /proc/[0-9]*; do
      tr '\\0' '\\n' <"$p/cmdline" 2>/dev/null | grep -qxF -- "$mnt" && grep -q '^Name:.stmount$' "$p/status" \\
        && basename "$p" && return; done; }
    # The first thread may end before the others, which hold the mount.
    ends() { for _ in $(seq 6000); do
      cat /proc/$1/task/*/status 2>/dev/null | grep -q '^State:.[^ZX]' || return 0; sleep 0.01
    done; echo "process $1 does not end"; }

    """

  /// The files of a namespace: the model, and a copy of the command that all users can reach.
  init(model: SafetensorsFile, allowsOthers: Bool = false) throws {
    directory = try TemporaryDirectory()
    _ = unsafe chmod("\(directory.path)", 0o755)
    try directory.write("m.safetensors", model)
    if let first = model.tensors.first { try directory.write("w", first.data) }
    try directory.write("fuse.conf", text: allowsOthers ? "user_allow_other\n" : "")
    try directory.makeDirectory("dev")
    let command = try directory.write("bin/stmount", OpenFile(Machine.stmount).bytes(step: 1 << 24))
    _ = unsafe chmod("\(command)", 0o755)
    let mountPoint = try directory.makeDirectory("mnt")
    _ = unsafe chown("\(mountPoint)", Self.nobody, Self.nobody)
  }

  /// Runs a script with `arguments` as its parameters. The script must succeed. Returns its output.
  func run(_ script: String, _ arguments: String...) async throws -> String {
    try Machine.check()
    let outcome = try await Command.run(
      "unshare", ["--mount", "--", "sh", "-c", Self.preamble + script, "sh", "\(directory.path)"] + arguments)
    guard outcome.status == 0 else {
      throw CommandFailure(command: [script], outcome: outcome)
    }
    return outcome.text
  }
}
