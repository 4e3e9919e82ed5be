// Streams, events and graphs.
//
// A stream's calls are queued, and run only when somebody synchronises with it: work that nobody waits for has not
// happened, so that a missing synchronisation shows as wrong data.
#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "Context.h"

namespace simulator {

// Something a GPU does; gives a CUresult.
using Action = std::function<int()>;

struct Graph {
  struct Node {
    Action action;
    std::vector<size_t> after;
  };
  std::vector<Node> nodes;
};

struct Stream;

struct Capture {
  std::shared_ptr<Graph> graph = std::make_shared<Graph>();
  std::shared_ptr<Stream> origin;
  std::vector<std::weak_ptr<Stream>> streams;  // all that take part
  std::thread::id thread;
  int mode;
  bool invalid = false;
};

// A place in a stream: reached when the stream has done that many calls.
struct Place {
  std::shared_ptr<Stream> stream;
  uint64_t position = 0;
};

struct Stream {
  struct Item {
    Action action;
    Place after;  // of another stream; empty for most
  };
  Context *context = nullptr;
  bool blocking = true;  // with the default stream
  std::deque<Item> queue;
  uint64_t queued = 0, done = 0;

  std::shared_ptr<Capture> capture;
  std::vector<size_t> tail;  // nodes that the next captured call depends on
};

struct Event {
  struct Record {
    Place place;  // none: in a graph
    double milliseconds = -1;  // when it was reached
  };
  bool timed = true;
  std::shared_ptr<Record> record;  // null: never recorded
  std::shared_ptr<Capture> capture;
  std::vector<size_t> tail;
};

// All of these want `state` held.

// The stream of a handle, 0 for the default one; null for what is none.
std::shared_ptr<Stream> find_stream(tc_CUstream handle);
// Queues or captures what a stream is to do.
int submit(const std::shared_ptr<Stream> &stream, Action action);
// Refuses what must not be called while this thread captures, and spoils the capture.
int refuse_in_capture();
// Runs all that is queued in a context. Gives `lock` up while it does.
int drain(Context &context, std::unique_lock<std::mutex> &lock);
void destroy_streams(Context &context);
// A number for each launch, other for each seed.
uint64_t next_seed();

}  // namespace simulator
