// A small launcher around govmomi's vCenter simulator, as Debian packages the
// library (golang-github-vmware-govmomi-dev has no commands in it).
//
// It prints one line of JSON on stdout once it listens, then serves until
// SIGTERM/SIGINT (or until stdin closes, with -stdin-exit).
package main

import (
	"crypto/tls"
	"encoding/json"
	"flag"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"github.com/vmware/govmomi/simulator"
	_ "github.com/vmware/govmomi/lookup/simulator"
	_ "github.com/vmware/govmomi/pbm/simulator"
	_ "github.com/vmware/govmomi/sts/simulator"
	_ "github.com/vmware/govmomi/vapi/cluster/simulator"
	_ "github.com/vmware/govmomi/vapi/simulator"
)

func main() {
	vc := simulator.VPX()
	var (
		listen    = flag.String("listen", "127.0.0.1:0", "address to bind")
		esx       = flag.Bool("esx", false, "play one standalone ESX host rather than a vCenter")
		plain     = flag.Bool("plain", false, "HTTP in place of HTTPS")
		user      = flag.String("user", "", "only this user may log in (default: anyone)")
		pass      = flag.String("password", "", "that user's password")
		cert      = flag.String("cert", "", "TLS certificate (PEM); default: a built-in self-signed one")
		key       = flag.String("key", "", "TLS key (PEM)")
		stdinExit = flag.Bool("stdin-exit", false, "stop when stdin reaches end of file")
		dcs       = flag.Int("dc", vc.Datacenter, "datacenters")
		clusters  = flag.Int("cluster", vc.Cluster, "clusters per datacenter")
		hosts     = flag.Int("host", vc.ClusterHost, "hosts per cluster")
		alone     = flag.Int("standalone-host", vc.Host, "standalone hosts per datacenter")
		stores    = flag.Int("ds", vc.Datastore, "datastores per datacenter")
		vms       = flag.Int("vm", vc.Machine, "virtual machines per resource pool")
		pools     = flag.Int("pool", vc.Pool, "resource pools per cluster")
		folders   = flag.Int("folder", vc.Folder, "folders around each datacenter")
		pods      = flag.Int("pod", vc.Pod, "datastore clusters")
		autostart = flag.Bool("autostart", true, "power the made VMs on")
		delay     = flag.Int("delay", 0, "milliseconds every method waits before it answers")
		jitter    = flag.Float64("jitter", 0, "variation of that delay")
	)
	flag.BoolVar(&simulator.Trace, "trace", false, "print SOAP traffic on stderr")
	flag.Parse()

	m := vc
	if *esx {
		m = simulator.ESX()
	} else {
		m.Datacenter, m.Cluster, m.ClusterHost = *dcs, *clusters, *hosts
		m.Host, m.Pool, m.Folder, m.Pod = *alone, *pools, *folders, *pods
	}
	m.Datastore, m.Machine, m.Autostart = *stores, *vms, *autostart
	m.DelayConfig.Delay, m.DelayConfig.DelayJitter = *delay, *jitter

	if err := m.Create(); err != nil {
		log.Fatal(err)
	}
	defer m.Remove() // deletes the datastores' temporary folders

	m.Service.RegisterEndpoints = true // PBM, STS, lookup, vAPI REST
	m.Service.Listen = &url.URL{Host: *listen}
	if *user != "" {
		m.Service.Listen.User = url.UserPassword(*user, *pass)
	}
	if !*plain {
		m.Service.TLS = new(tls.Config)
		if *cert != "" {
			pair, err := tls.LoadX509KeyPair(*cert, *key)
			if err != nil {
				log.Fatal(err)
			}
			m.Service.TLS.Certificates = []tls.Certificate{pair}
		}
	}
	m.Service.ServeMux = http.NewServeMux()

	srv := m.Service.NewServer()
	defer srv.Close()

	_ = json.NewEncoder(os.Stdout).Encode(map[string]interface{}{
		"url": srv.URL.Scheme + "://" + srv.URL.Host + srv.URL.Path,
		"pid": os.Getpid(), "counts": m.Count(),
	})

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	if *stdinExit {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			stop <- syscall.SIGTERM
		}()
	}
	<-stop
}
