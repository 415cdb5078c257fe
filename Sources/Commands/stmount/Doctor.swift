import FUSE
import Glibc
import Linux
import Models
import Safetensors
import SystemPackage

/// Examines a machine: whether it can mount, who can, and how fast mounts will be. Each line has a finding; if something
/// can be improved, the next line has the remedy.
struct Doctor {
  private enum Finding: String {
    case good = "ok    "
    case poor = "note  "
    case bad = "FAIL  "
  }

  /// Prints the findings to standard output; false if nothing can be mounted.
  func examine() -> Bool {
    print("stmount \(stmountVersion), libfuse \(Session.libraryVersion), Linux \(KernelVersion.release)")
    let privileges = Privileges()
    examineDevice(privileges)
    examineFusermount(privileges)
    examineConfiguration(privileges)
    examineLog()
    let trial: Trial
    do throws(MountError) {
      trial = try Trial()
    } catch {
      report(.bad, "a trial mount fails", remedy: error.description)
      return false
    }
    report(.good, "a trial mount works")
    examineSpeed(trial)
    return true
  }

  private func examineDevice(_ privileges: Privileges) {
    do throws(MountError) {
      try FUSEDevice.check()
      report(.good, "/dev/fuse can be opened")
    } catch {
      report(.bad, "/dev/fuse cannot be opened", remedy: error.description)
      return
    }
    let everybody =
      (try? Stat(FilePath("/dev/fuse")))?.permissions.contains([.otherRead, .otherWrite]) ?? false
    if privileges.isRoot, !everybody {
      report(.poor, "only root can open /dev/fuse", remedy: "for unprivileged users: chmod 666 /dev/fuse")
    }
  }

  private func examineFusermount(_ privileges: Privileges) {
    // Root does not need it, but other users do.
    let finding = privileges.canMount ? Finding.poor : .bad
    guard let path = privileges.fusermount else {
      report(
        finding,
        "fusermount3 is not installed\(privileges.hasOldFusermount ? ", only the fusermount of FUSE 2" : ""): "
          + "only root can mount",
        remedy: "apt install fuse3 (or the like)")
      return
    }
    if !privileges.isFusermountSetuid {
      report(
        finding, "\(path) is not setuid root: only root can mount",
        remedy: "chown root \(path); chmod 4755 \(path)")
    } else if privileges.hasNoNewPrivileges, !privileges.isRoot {
      report(
        .bad, "this process cannot gain privileges, so fusermount3 cannot mount for it",
        remedy: "start it without NoNewPrivileges= or no-new-privileges")
    } else {
      report(.good, "\(path) lets unprivileged users mount")
    }
    if privileges.isRoot, !privileges.canMount {
      report(
        .poor, "root has no CAP_SYS_ADMIN here",
        remedy: "docker run --cap-add SYS_ADMIN --device /dev/fuse")
    }
    if let profile = privileges.profile {
      report(.poor, "confined by AppArmor: \(PrintableText.escaped(Array(profile.utf8)))")
    }
  }

  private func examineConfiguration(_ privileges: Privileges) {
    if FuseConfiguration().allowsOthers {
      report(.good, "unprivileged users may use allow_other")
    } else {
      report(
        .poor, "only root may use allow_other",
        remedy: "for unprivileged users: echo user_allow_other >>/etc/fuse.conf")
    }
  }

  private func examineLog() {
    if (try? Stat(FilePath("/dev/log"))) != nil {
      report(.good, "syslog takes what mounts log from the background")
    } else {
      report(
        .poor, "there is no syslog: what mounts log from the background is lost",
        remedy: "run a syslog daemon, or mount with --foreground")
    }
  }

  private func examineSpeed(_ trial: Trial) {
    func feature(_ feature: KernelFeatures, _ text: String) {
      if trial.features.contains(feature) {
        report(.good, text)
      } else {
        report(.poor, "this kernel lacks: \(text)", remedy: "use a newer kernel")
      }
    }
    feature(.noOpen, "opening a file costs no request (Linux 3.15)")
    feature(.noOpendir, "opening a directory costs no request (Linux 5.1)")
    feature(.readdirplus, "listings carry attributes (Linux 3.9)")
    let ahead = trial.readAheadKiB.map { "\($0) KiB" }
    if let remedy = trial.readAheadRemedy {
      report(
        .poor, "the kernel reads only \(ahead ?? "a little") ahead, and this user cannot raise that",
        remedy: "for a mount, after it is made: \(remedy)")
    } else if let ahead {
      report(.good, "the kernel reads \(ahead) ahead")
    } else {
      report(
        .poor, "how far the kernel reads ahead cannot be seen or raised", remedy: "mount sysfs on /sys")
    }
    let version = Session.libraryVersion.split(separator: ".").compactMap { Int($0) }
    if version.lexicographicallyPrecedes([3, 17]) {
      report(
        .poor, "libfuse before 3.17: with -o direct_io, or open with O_DIRECT, no shared mappings",
        remedy: "nothing, unless you need those")
    }
  }

  private func report(_ finding: Finding, _ text: String, remedy: String? = nil) {
    print(finding.rawValue + text)
    if let remedy { print("      -> \(remedy)") }
  }
}
