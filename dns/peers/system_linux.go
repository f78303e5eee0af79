package peers

import "syscall"

// groupOfItsOwn keeps a Ctrl-C on the terminal away, so that it is [Server.Stop]
// that ends the process; should this one be killed, the kernel does.
func groupOfItsOwn() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

// end kills a process and all that it has started.
func end(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }
