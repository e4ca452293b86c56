// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"

	"dossier.dev/dossier"
	"dossier.dev/dossier/bench/fleet"
	"dossier.dev/dossier/bench/load"
	"dossier.dev/dossier/e2e/kube"
)

const (
	rollouts     = 20 // Deployments, of which one is rolled out each rolloutPause
	rolloutPods  = 30
	rolloutPause = time.Second
	rolloutNodes = 5
	rolloutSpace = "default"
	settledTime  = 2 * time.Minute // for pods to run
)

// measureRollout changes pods as a cluster does: a Deployment is given another
// image, and controller manager, scheduler and fake kubelets do the rest.
func measureRollout(ctx context.Context, l *lab, r *report) error {
	if _, err := l.needProgram(ctx); err != nil {
		return err
	}
	if _, err := l.needImages(); err != nil {
		return err
	}
	if _, err := l.needRegistry(ctx); err != nil {
		return err
	}
	l.toHarness()
	c := kube.Start(l.stage, kube.Options{})
	c.StartKwok(l.stage, rolloutNodes)
	client, err := writeClient(c)
	if err != nil {
		return err
	}
	ro := &rollout{lab: l, client: client, known: map[string]bool{}, running: map[int][]time.Time{}}
	if err := ro.deploy(ctx); err != nil {
		return err
	}
	if ro.serving, err = l.serve(ctx, filepath.Join(l.dir, "rollout"), "--kubeconfig", c.Kubeconfig); err != nil {
		return err
	}
	begin := time.Now()
	if err := ro.run(ctx); err != nil {
		return err
	}
	took := time.Since(begin)
	u, err := ro.serving.close()
	if err != nil {
		return err
	}
	r.note("control plane", "controller manager, scheduler, kwok; %d Deployments of %d pods, one rolled out each %s", rollouts, rolloutPods, load.Short(rolloutPause))
	r.note("pods started", "%.0f a second, and as many ended", float64(ro.seen.N())/took.Seconds())
	r.quantiles("pod said to run until it is in Dossier's API", &ro.seen, changeLimit)
	r.note("processor of the server, user + system", "%s + %s", load.Short(u.User), load.Short(u.System))
	r.note("peak memory", "%s", megabytes(u.PeakMemory))
	return nil
}

// rollout is Deployments that are rolled out one after the other.
type rollout struct {
	lab     *lab
	client  kubernetes.Interface
	serving *serving

	mu      sync.Mutex
	known   map[string]bool     // by UID: pods that the API server said run the new image
	running map[int][]time.Time // by Deployment: when it said so, pod by pod
	seen    load.Sample
}

func rolloutName(i int) string { return fmt.Sprintf("roll-%02d", i) }

// image is what a Deployment runs before (0) and after (1) its rollout.
func (ro *rollout) image(i, version int) fleet.Image {
	return ro.lab.images.List[(2*i+version)%len(ro.lab.images.List)]
}

// deployment is the i-th in a version.
func (ro *rollout) deployment(i, version int) *appsv1.Deployment {
	image := ro.image(i, version)
	labels := map[string]string{"app": rolloutName(i)}
	replicas, surge, none := int32(rolloutPods), intstr.FromString("100%"), intstr.FromInt32(0)
	pod := fleet.BarePod("", "", ro.lab.registry.host+"/"+image.Repository+":"+image.Tag)
	pod.Labels = labels
	pod.Annotations = map[string]string{"imageid.test/main": ro.lab.imageID(image)}
	pod.Spec.Volumes, pod.Spec.Containers[0].VolumeMounts = nil, nil
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: rolloutSpace, Name: rolloutName(i)},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: pod.ObjectMeta, Spec: pod.Spec},
			Strategy: appsv1.DeploymentStrategy{
				Type:          appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &surge, MaxUnavailable: &none},
			},
		},
	}
}

// deploy makes the Deployments and waits until all their pods run.
func (ro *rollout) deploy(ctx context.Context) error {
	ro.lab.say("deploying %d pods", rollouts*rolloutPods)
	for i := range rollouts {
		if _, err := ro.client.AppsV1().Deployments(rolloutSpace).Create(ctx, ro.deployment(i, 0), metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	return until(ctx, settledTime, 50*time.Millisecond, func() error {
		list, err := ro.client.AppsV1().Deployments(rolloutSpace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		ready := 0
		for _, d := range list.Items {
			ready += int(d.Status.ReadyReplicas)
		}
		if ready < rollouts*rolloutPods {
			return fmt.Errorf("%d pods are ready", ready)
		}
		return nil
	})
}

// run rolls out and returns when every new pod was seen, or given up.
func (ro *rollout) run(ctx context.Context) error {
	watching, err := ro.client.CoreV1().Pods(rolloutSpace).Watch(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer watching.Stop()
	wg.Go(func() {
		for event := range watching.ResultChan() {
			pod, ok := event.Object.(*corev1.Pod)
			if !ok {
				continue
			}
			if i, first := ro.note(pod, time.Now()); first {
				wg.Go(func() { ro.wait(ctx, i) })
			}
		}
	})
	for i := range rollouts {
		if _, err := ro.client.AppsV1().Deployments(rolloutSpace).Update(ctx, ro.deployment(i, 1), metav1.UpdateOptions{}); err != nil {
			return err
		}
		time.Sleep(rolloutPause)
	}
	return until(ctx, settledTime, 50*time.Millisecond, func() error {
		ro.mu.Lock()
		defer ro.mu.Unlock()
		if n := ro.seen.N() + ro.seen.Failed; n < rollouts*rolloutPods {
			return fmt.Errorf("%d of %d new pods were seen", n, rollouts*rolloutPods)
		}
		return nil
	})
}

// note remembers a pod that was not said before to run the new image of the i-th
// Deployment, and reports whether it is the first of that.
func (ro *rollout) note(pod *corev1.Pod, at time.Time) (i int, first bool) {
	if _, err := fmt.Sscanf(pod.Labels["app"], "roll-%d", &i); err != nil || len(pod.Status.ContainerStatuses) == 0 {
		return 0, false
	}
	if pod.Status.ContainerStatuses[0].ImageID != ro.lab.imageID(ro.image(i, 1)) {
		return 0, false
	}
	ro.mu.Lock()
	defer ro.mu.Unlock()
	if ro.known[string(pod.UID)] {
		return 0, false
	}
	ro.known[string(pod.UID)] = true
	ro.running[i] = append(ro.running[i], at)
	return i, len(ro.running[i]) == 1
}

// wait asks how many pods of the i-th Deployment run its new image until all are
// said to. The n-th that is said to run in Dossier is compared with the n-th in
// the API server.
func (ro *rollout) wait(ctx context.Context, i int) {
	begin := time.Now()
	for n := 0; n < rolloutPods; {
		var d dossier.Dossier
		err := ro.serving.ask(ctx, "/api/v1/digests/"+string(ro.image(i, 1).Index), &d)
		now, pods := time.Now(), podsOf(d, rolloutSpace, rolloutName(i))
		ro.mu.Lock()
		if now.Sub(begin) > giveUp {
			for ; n < rolloutPods; n++ {
				ro.seen.Add(0, fmt.Errorf("pod %d of %s was not seen within %v (%w)", n, rolloutName(i), giveUp, err))
			}
		}
		// Dossier may be told before we are.
		for ; n < min(pods, len(ro.running[i])); n++ {
			ro.seen.Add(now.Sub(ro.running[i][n]), nil)
		}
		ro.mu.Unlock()
		time.Sleep(askPause / 2)
	}
}
