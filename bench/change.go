// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"dossier.dev/dossier"
	"dossier.dev/dossier/bench/fleet"
	"dossier.dev/dossier/bench/load"
	"dossier.dev/dossier/bench/measure"
)

const (
	changeLimit = time.Second
	changeRate  = 100 // pods a second
	changeTime  = 30 * time.Second
	// oneWatched is of how many changes one is waited for: to wait is to ask, and
	// the asking must not be what is measured.
	oneWatched = 20
	probes     = 100 // pods whose changes are waited for, in turn
	probeSpace = "probe"
	// askPause is between two questions whether a change is visible yet; it grows
	// with the time that was waited, by a tenth.
	askPause = 20 * time.Millisecond
	// giveUp is how long a change may take before it counts as lost.
	giveUp = 30 * time.Second
)

func measureChange(ctx context.Context, l *lab, r *report) error {
	data, err := l.needFilled(ctx)
	if err != nil {
		return err
	}
	client, err := writeClient(l.cluster)
	if err != nil {
		return err
	}
	if err := l.addProbes(ctx, client); err != nil {
		return err
	}
	s, err := l.serve(ctx, data, "--kubeconfig", l.cluster.Kubeconfig)
	if err != nil {
		return err
	}
	c := changer{lab: l, client: client, serving: s}
	stop, err := c.listen(ctx)
	if err != nil {
		return err
	}
	defer stop()
	before, err := measure.CPUTime(s.process.PID())
	if err != nil {
		return err
	}
	begin := time.Now()
	all := load.Constant(ctx, changeRate, changeTime, c.change)
	took := time.Since(begin)
	stop()
	after, err := measure.CPUTime(s.process.PID())
	if err != nil {
		return err
	}
	u, err := s.close()
	if err != nil {
		return err
	}
	r.note("cluster", "%v", l.size)
	r.note("pods changed", "%.0f a second, %d in all, %d failed", float64(all.N())/took.Seconds(), all.N(), all.Failed)
	r.quantiles("reply of the API server until the change is in Dossier's API", &c.seen, changeLimit)
	r.note("the API server took for its reply", "%v", &c.replies)
	r.note("peer: reply of the API server until a bare watch tells", "%v", c.watched())
	r.note("processor of the server meanwhile", "%.0f%% of one, with %d questions answered", 100*(after-before).Seconds()/took.Seconds(), c.questions)
	r.note("peak memory", "%s", megabytes(u.PeakMemory))
	return all.First
}

// changer changes which images pods run, and waits for some of the changes.
type changer struct {
	lab     *lab
	client  kubernetes.Interface
	serving *serving

	mu        sync.Mutex
	seen      load.Sample
	replies   load.Sample
	replied   map[string]time.Time // by pod and image ID
	heard     map[string]time.Time // the same, when our own watch told
	questions int
}

// listen watches the probes as the least that anybody could do, until stop.
func (c *changer) listen(ctx context.Context) (stop func(), err error) {
	c.replied, c.heard = map[string]time.Time{}, map[string]time.Time{}
	watching, err := c.client.CoreV1().Pods(probeSpace).Watch(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return nil, err
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for event := range watching.ResultChan() {
			if pod, ok := event.Object.(*corev1.Pod); ok && len(pod.Status.ContainerStatuses) > 0 {
				c.mu.Lock()
				c.heard[pod.Name+" "+pod.Status.ContainerStatuses[0].ImageID] = time.Now()
				c.mu.Unlock()
			}
		}
	})
	return sync.OnceFunc(func() {
		watching.Stop()
		wg.Wait()
	}), nil
}

// watched is how long after the replies our own watch told. It may be told before.
func (c *changer) watched() *load.Sample {
	c.mu.Lock()
	defer c.mu.Unlock()
	var s load.Sample
	for id, replied := range c.replied {
		if heard, ok := c.heard[id]; ok {
			s.Add(max(0, heard.Sub(replied)), nil)
		} else {
			s.Add(0, fmt.Errorf("nothing was told of %s", id))
		}
	}
	return &s
}

// addProbes makes pods that nobody owns: each is a workload of its own, so that
// a change of it can be told from others.
func (l *lab) addProbes(ctx context.Context, client kubernetes.Interface) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: probeSpace}}
	if _, err := client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
		return err
	}
	return fleet.Each(ctx, probes, func(ctx context.Context, i int) error {
		image := l.probeImage(i, 0)
		pod := fleet.BarePod(probeSpace, probeName(i), l.registry.host+"/"+image.Repository+":"+image.Tag)
		return fleet.RunPod(ctx, client, pod, i, l.imageID(image))
	})
}

func probeName(i int) string { return fmt.Sprintf("probe-%03d", i) }

// probeImage is the image that a probe runs after some changes: always another.
func (l *lab) probeImage(probe, changes int) fleet.Image {
	return l.images.List[(probe*13+changes)%len(l.images.List)]
}

func (l *lab) imageID(image fleet.Image) string {
	return l.registry.host + "/" + image.Repository + "@" + string(image.Index)
}

// change makes the i-th change.
func (c *changer) change(ctx context.Context, i int) error {
	if i%oneWatched != 0 {
		pod := i * 37 % (c.lab.size.images * c.lab.size.perImage)
		namespace, name := fleet.PodName(pod/c.lab.size.perImage, pod%c.lab.size.perImage)
		return c.setImage(ctx, namespace, name, c.lab.images.List[(pod+i+1)%len(c.lab.images.List)])
	}
	i /= oneWatched
	probe, changes := i%probes, 1+i/probes
	image := c.lab.probeImage(probe, changes)
	if err := c.setImage(ctx, probeSpace, probeName(probe), image); err != nil {
		return err
	}
	replied := time.Now()
	c.mu.Lock()
	c.replied[probeName(probe)+" "+c.lab.imageID(image)] = replied
	c.mu.Unlock()
	c.wait(ctx, probeName(probe), image, replied)
	return nil
}

// setImage says, as a kubelet would, that a pod runs another image.
func (c *changer) setImage(ctx context.Context, namespace, pod string, image fleet.Image) error {
	patch := fmt.Appendf(nil, `{"status":{"containerStatuses":[{"name":"main","imageID":%q}]}}`, c.lab.imageID(image))
	begin := time.Now()
	_, err := c.client.CoreV1().Pods(namespace).Patch(ctx, pod, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.replies.Add(time.Since(begin), err)
	return err
}

// wait asks until the image is said to run in the pod.
func (c *changer) wait(ctx context.Context, pod string, image fleet.Image, since time.Time) {
	asked := 0
	err := fmt.Errorf("the change of %s was not seen within %v", pod, giveUp)
	for time.Since(since) < giveUp {
		var d dossier.Dossier
		asked++
		if askErr := c.serving.ask(ctx, "/api/v1/digests/"+string(image.Index), &d); askErr != nil {
			err = askErr
			break
		}
		if podsOf(d, probeSpace, pod) > 0 {
			err = nil
			break
		}
		time.Sleep(askPause + time.Since(since)/10)
	}
	took := time.Since(since)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen.Add(took, err)
	c.questions += asked
}

// podsOf is how many pods of a workload run an image.
func podsOf(d dossier.Dossier, namespace, workload string) int {
	n := 0
	for _, r := range d.Running {
		if r.Namespace == namespace && r.Name == workload {
			n += r.Pods
		}
	}
	return n
}
