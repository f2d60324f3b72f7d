"""Processes that train together on one machine: each computes the gradients of its own batches with one thread, and all take
the same steps. On two cores a step so takes 8 to 18 % less time than with two threads of one process."""
import torch
import torch.multiprocessing as processes

PATIENCE = 300                                              # seconds: as long may one measure while the others wait


class Team:
    def __init__(self, size, floats):
        """`floats`: how many are exchanged at once at most."""
        context = processes.get_context("spawn")
        self.size, self.rank = size, 0
        self.parts = torch.zeros(size, floats).share_memory_()
        self.time = torch.zeros(1, dtype=torch.double).share_memory_()
        self.barrier = context.Barrier(size, timeout=PATIENCE)

    def start(self, run, *arguments):
        """Runs `run(team, *arguments)` in all processes, of which this is the first."""
        for rank in range(1, self.size):
            processes.get_context("spawn").Process(target=_member, args=(self, rank, run, arguments)).start()
        run(self, *arguments)

    def gathered(self, mine):
        """What each of the processes gives: [size, *mine.shape]."""
        self.parts[self.rank, :mine.numel()] = mine.flatten()
        self.barrier.wait()
        out = self.parts[:, :mine.numel()].clone().view(self.size, *mine.shape)
        self.barrier.wait()
        return out

    def mean_gradients(self, params):
        """Gives all processes the mean of their gradients. One that a batch did not need counts as zero."""
        if self.size == 1:
            return
        mean = self.gathered(torch.cat([(torch.zeros_like(q) if q.grad is None else q.grad).flatten() for q in params])).mean(0)
        for q, grad in zip(params, mean.split([q.numel() for q in params])):
            q.grad = grad.view_as(q)

    def divided(self, f, x):
        """f(x) for x [n, ...], of which each process computes a part."""
        if self.size == 1 or len(x) < self.size:
            return f(x)
        each = -(-len(x) // self.size)
        x, n = torch.cat((x, x[:each * self.size - len(x)])), len(x)
        return self.gathered(f(x[each * self.rank:each * (self.rank + 1)])).flatten(0, 1)[:n]

    def agreed(self, time):
        """The first one's time, which decides how far all of them are."""
        if self.rank == 0:
            self.time[0] = time
        if self.size > 1:
            self.barrier.wait()
        return self.time.item()


def _member(team, rank, run, arguments):
    team.rank = rank
    run(team, *arguments)
