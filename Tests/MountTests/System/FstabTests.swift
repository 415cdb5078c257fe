import Fixtures
import SystemPackage
import Testing

extension MountTests {
  /// mount(8), umount(8) and fstab(5) of the machine.
  @Suite struct FstabTests {
    private static let model = SafetensorsFile(.init("w", "U8", [300_000]), .init("a/b", "F32", [3]))

    /// Installs the command under the names and in the directory where mount(8) looks for helpers.
    private static let helpers = """
      mkdir "$directory/sbin"
      for type in "$@"; do ln -s "$stmount" "$directory/sbin/mount.$type"; done
      mount -t overlay -o "lowerdir=$directory/sbin:/usr/sbin" overlay /usr/sbin
      # mount.fuse3(8) finds the command through PATH.
      mount --bind "$directory/bin" /usr/local/sbin
      export PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin
      shown() { findmnt -n -o FSTYPE,SOURCE --mountpoint "$mnt" | sed "s|$directory|D|g; s/  */ /g" | grep . || echo nothing; }
      # A process that mount(8) starts as a helper has the helper's name.
      daemon() { for p in /proc/[0-9]*; do
        tr '\\0' '\\n' 2>/dev/null <"$p/cmdline" | grep -qxF -- "$mnt" && grep -qE '^Name:.(stmount|mount\\.)' "$p/status" \\
          && basename "$p" && return; done; }

      """

    private func run(_ script: String, helpers: [String]) async throws -> String {
      let space = try PrivateNamespace(model: Self.model)
      return try await space.run("set -- \(helpers.joined(separator: " "))\n" + Self.helpers + script)
    }

    @Test(
      "mount -t finds the model by either type, with the helper and without; umount takes mount point or source",
      arguments: [("stmount", ["stmount"]), ("fuse.stmount", ["fuse.stmount"]), ("fuse.stmount", [])])
    func mount(type: String, helpers: [String]) async throws {
      let output = try await run(
        """
        mount -t \(type) -o allow_other "$model" "$mnt"
        shown
        as_nobody cmp "$mnt/w" "$directory/w" && echo same
        pid=$(daemon); umount "$mnt"; ends "$pid"
        mount -t \(type) "$model" "$mnt"
        pid=$(daemon); umount "$model"; ends "$pid"; shown
        """, helpers: helpers)
      #expect(output == "fuse.stmount D/m.safetensors\nsame\nnothing", "\(output)")
    }

    @Test("A line of fstab mounts by mount point, by source and by mount -a, which does not mount twice")
    func fstab() async throws {
      let output = try await run(
        """
        line() { echo "$model $mnt fuse.stmount $1 0 0" >"$directory/fstab"; }
        line noauto,nofail,_netdev,x-systemd.automount,x-systemd.idle-timeout=10min,allow_other,idle_timeout=600
        mount -T "$directory/fstab" -a; shown
        mount -T "$directory/fstab" "$mnt"; shown; umount "$mnt"
        mount -T "$directory/fstab" "$model"; shown; umount "$mnt"
        line defaults,nofail
        mount -T "$directory/fstab" -a; mount -T "$directory/fstab" -a
        shown
        umount "$mnt"; shown
        """, helpers: ["fuse.stmount"])
      let mounted = "fuse.stmount D/m.safetensors"
      #expect(output == "nothing\n\(mounted)\n\(mounted)\n\(mounted)\nnothing", "\(output)")
    }

    @Test("A line of fstab can have commas and spaces in its paths, and a backslash in its mount point")
    func oddPaths() async throws {
      let output = try await run(
        #"""
        mkdir "$directory/my models" "$directory/a b\\c"
        cp "$model" "$directory/my models/a,b=c.safetensors"
        printf '%s\n' "$directory/my\\040models/a,b=c.safetensors $directory/a\\040b\\134c stmount noauto 0 0" \
          >"$directory/fstab"
        mount -T "$directory/fstab" "$directory/a b\\c"
        findmnt -n -r -o SOURCE --mountpoint "$directory/a b\\c" | sed "s|$directory|D|"
        cmp "$directory/a b\\c/w" "$directory/w" && echo same
        umount "$directory/my models/a,b=c.safetensors"
        findmnt --mountpoint "$directory/a b\\c" || echo nothing
        """#, helpers: ["stmount"])
      #expect(output == #"D/my\x20models/a,b=c.safetensors"# + "\nsame\nnothing", "\(output)")
    }

    @Test(
      "mount -s takes unknown options, without it they fail; -f checks the model and mounts nothing; -v logs more"
    )
    func flags() async throws {
      let output = try await run(
        """
        mount -t stmount -o nonsense "$model" "$mnt" 2>&1 || echo "status $?"
        mount -s -t stmount -o nonsense,exec "$model" "$mnt"; shown; umount "$mnt"
        mount -f -t stmount "$model" "$mnt"; shown
        mount -f -t stmount /dev/null "$mnt" 2>/dev/null || echo "status $?"
        mount -n -r -v -t stmount "$model" "$mnt" >/dev/null; shown; umount "$mnt"
        mount -w -t stmount "$model" "$mnt" >/dev/null; shown
        touch "$mnt/new" 2>&1 | grep -o 'Read-only file system'
        """, helpers: ["stmount"])
      let mounted = "fuse.stmount D/m.safetensors"
      #expect(
        output.split(separator: "\n").dropFirst() == [
          "status 64", Substring(mounted), "nothing", "status 66", Substring(mounted), Substring(mounted),
          "Read-only file system",
        ], "\(output)")
    }

    @Test("A failed mount fails for mount(8) too, with the command's own message")
    func failure() async throws {
      let output = try await run(
        """
        echo nonsense >"$directory/broken.safetensors"
        mount -t fuse.stmount "$directory/broken.safetensors" "$mnt" 2>&1 || echo "status $?"
        shown
        """, helpers: ["fuse.stmount"])
      #expect(output.contains("stmount: ") && output.hasSuffix("status 65\nnothing"), "\(output)")
    }

    @Test("An unprivileged user mounts a line of fstab with the option user, and unmounts it")
    func user() async throws {
      let output = try await run(
        """
        # mount(8) ignores other files if the user is not root.
        echo "$model $mnt fuse.stmount noauto,user 0 0" >"$directory/fstab"
        mount --bind "$directory/fstab" /etc/fstab
        as_nobody mount "$mnt"; shown
        as_nobody cmp "$mnt/w" "$directory/w" && echo same
        as_nobody umount "$mnt"; shown
        """, helpers: ["fuse.stmount"])
      #expect(output == "fuse.stmount D/m.safetensors\nsame\nnothing", "\(output)")
    }

    @Test("An automounter's trigger mounts on first access, and expires without use")
    func automount() async throws {
      let output = try await run(
        """
        echo "/- file,sun:$directory/auto.direct --timeout=1" >"$directory/auto.master"
        echo "$mnt -fstype=fuse.stmount,allow_other :$model" >"$directory/auto.direct"
        # automount has a lock and pipes in /run.
        mount -t tmpfs tmpfs /run
        automount -f -p "$directory/pid" "$directory/auto.master" 2>"$directory/log" &
        automounter=$!
        trap 'kill $automounter; umount -a -l -t fuse.stmount,autofs' EXIT
        for _ in $(seq 3000); do findmnt -t autofs --mountpoint "$mnt" >/dev/null && break; sleep 0.01; done
        for _ in 1 2; do
          timeout 60 cmp "$mnt/w" "$directory/w" && echo same || cat "$directory/log"
          # A mount does not expire while a file is open.
          exec 3<"$mnt/w"
          findmnt -n -o FSTYPE --mountpoint "$mnt" | tr '\n' ' '
          pid=$(daemon)
          exec 3<&-
          for _ in $(seq 3000); do findmnt -t fuse.stmount --mountpoint "$mnt" >/dev/null || break; sleep 0.01; done
          ends "$pid"; echo expired
        done
        """, helpers: ["fuse.stmount"])
      #expect(output == "same\nautofs fuse.stmount expired\nsame\nautofs fuse.stmount expired", "\(output)")
    }

    @Test("df, lsof, fuser and ls treat the mount like any other")
    func citizens() async throws {
      let output = try await run(
        """
        mount -t fuse.stmount "$model" "$mnt"
        df --output=source,fstype,pcent,target "$mnt" | tail -n 1 | sed "s|$directory|D|g; s/  */ /g"
        exec 3<"$mnt/w"
        lsof -w -F ct "$mnt/w" | grep -A 1 '^csh' | tr '\\n' ' '; echo
        fuser -m "$mnt" 2>/dev/null | tr -s ' ' '\\n' | grep -cx $$
        ls -l "$mnt" | tail -n +2 | cut -c 1-11
        exec 3<&-
        """, helpers: ["fuse.stmount"])
      #expect(
        output == """
          D/m.safetensors fuse.stmount 100% D/mnt
          csh tREG 
          1
          dr-xr-xr-x 
          -r--r--r-- 
          -r--r--r-- 
          """, "\(output)")
    }
  }
}
