// Package daemon is the service that looks after all apps of a machine: it
// starts runs when they are due, each as a process of its own, follows the
// configuration as it changes, tells systemd that it lives, and shows metrics.
// It is for `backstay serve`. It promises that one run that crashes, hangs or
// eats memory takes nothing else with it, and that there is one of it on a
// state folder.
package daemon
