#include "Streams.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <set>

#include "Configuration.h"

namespace simulator {
namespace {

std::map<tc_CUstream, std::shared_ptr<Stream>> streams;
std::map<int, std::shared_ptr<Stream>> default_streams;  // by device
std::map<tc_CUevent, std::shared_ptr<Event>> events;
std::map<tc_CUgraph, std::shared_ptr<Graph>> graphs;
std::map<tc_CUgraphExec, std::shared_ptr<const Graph>> executables;
std::set<std::shared_ptr<Capture>> captures;  // under way
uint64_t launches = 0;

// Held by whoever runs queued work: one at a time. Taken before `state`, never while it is held.
std::mutex execution;

constexpr int capture_global = 0, capture_thread_local = 1;

double now() {
  using namespace std::chrono;
  return duration<double, std::milli>(steady_clock::now().time_since_epoch()).count();
}

// Runs a stream's calls up to a position, and before each what it waits for. `execution` and `state` are held; `state`
// is given up while a call runs, so that others may queue meanwhile.
int run_until(Stream &stream, uint64_t position, std::unique_lock<std::mutex> &lock) {
  Context &context = *stream.context;
  while (stream.done < position) {
    Stream::Item item = stream.queue.front();
    if (item.after.stream) {
      if (int error = run_until(*item.after.stream, item.after.position, lock)) return error;
    }
    if (!context.error && item.action) {
      lock.unlock();
      int error = item.action();
      lock.lock();
      if (error) context.error = error;
    }
    stream.queue.pop_front();
    stream.done++;
  }
  return context.error;
}

// Gives `lock` up to take `execution` first.
int synchronise(const Place &place, std::unique_lock<std::mutex> &lock) {
  lock.unlock();
  std::lock_guard turn(execution);
  lock.lock();
  return run_until(*place.stream, place.position, lock);
}

void enqueue(Stream &stream, Stream::Item item) {
  stream.queue.push_back(std::move(item));
  stream.queued++;
}

std::shared_ptr<Stream> default_stream(Context &context) {
  std::shared_ptr<Stream> &stream = default_streams[context.device];
  if (!stream) {
    stream = std::make_shared<Stream>();
    stream->context = &context;
  }
  return stream;
}

// The legacy default stream and streams that block with it wait for each other.
void order_with_default(const std::shared_ptr<Stream> &stream) {
  std::shared_ptr<Stream> first = default_stream(*stream->context);
  if (stream == first) {
    for (auto &[handle, other] : streams)
      if (other->context == stream->context && other->blocking && !other->capture && other->queued > other->done)
        enqueue(*stream, {nullptr, {other, other->queued}});
  } else if (stream->blocking && first->queued > first->done) {
    enqueue(*stream, {nullptr, {first, first->queued}});
  }
}

bool blocking_capture(const Context &context) {
  for (auto &[handle, stream] : streams)
    if (stream->context == &context && stream->blocking && stream->capture) return true;
  return false;
}

// Runs nodes in any order that their dependencies allow.
int run_graph(const Graph &graph, uint64_t seed) {
  std::vector<size_t> missing(graph.nodes.size()), ready;
  std::vector<std::vector<size_t>> next(graph.nodes.size());
  for (size_t i = 0; i < graph.nodes.size(); i++) {
    missing[i] = graph.nodes[i].after.size();
    for (size_t before : graph.nodes[i].after) next[before].push_back(i);
    if (missing[i] == 0) ready.push_back(i);
  }
  while (!ready.empty()) {
    seed = seed * 6364136223846793005 + 1442695040888963407;
    std::swap(ready[(seed >> 33) % ready.size()], ready.back());
    size_t node = ready.back();
    ready.pop_back();
    if (graph.nodes[node].action)
      if (int error = graph.nodes[node].action()) return error;
    for (size_t later : next[node])
      if (--missing[later] == 0) ready.push_back(later);
  }
  return success;
}

}  // namespace

uint64_t next_seed() { return (configuration().seed * 0x9e3779b97f4a7c15) ^ (++launches * 0xbf58476d1ce4e5b9); }

std::shared_ptr<Stream> find_stream(tc_CUstream handle) {
  // CU_STREAM_LEGACY is 1.
  if ((uintptr_t)handle <= 1) return default_stream(*current_context());
  auto found = streams.find(handle);
  return found == streams.end() ? nullptr : found->second;
}

int submit(const std::shared_ptr<Stream> &stream, Action action) {
  if (stream->capture) {
    if (stream->capture->invalid) return capture_invalidated;
    Graph &graph = *stream->capture->graph;
    graph.nodes.push_back({std::move(action), stream->tail});
    stream->tail = {graph.nodes.size() - 1};
    return success;
  }
  if (stream == default_stream(*stream->context) && blocking_capture(*stream->context)) {
    refuse_in_capture();
    return capture_implicit;
  }
  order_with_default(stream);
  enqueue(*stream, {std::move(action), {}});
  return success;
}

int refuse_in_capture() {
  int result = success;
  for (const std::shared_ptr<Capture> &capture : captures)
    if (capture->mode == capture_global ||
        (capture->mode == capture_thread_local && capture->thread == std::this_thread::get_id())) {
      capture->invalid = true;
      result = capture_unsupported;
    }
  return result;
}

int drain(Context &context, std::unique_lock<std::mutex> &lock) {
  lock.unlock();
  std::lock_guard turn(execution);
  lock.lock();
  std::vector<std::shared_ptr<Stream>> all = {default_stream(context)};
  for (auto &[handle, stream] : streams)
    if (stream->context == &context) all.push_back(stream);
  for (const std::shared_ptr<Stream> &stream : all) run_until(*stream, stream->queued, lock);
  return context.error;
}

void destroy_streams(Context &context) {
  for (auto next = streams.begin(); next != streams.end();)
    next = next->second->context == &context ? streams.erase(next) : std::next(next);
  default_streams.erase(context.device);
}

}  // namespace simulator

using namespace simulator;

// MARK: Streams

CUDA_API(cuStreamCreate, tc_CUstream *handle, unsigned flags) {
  BEGIN("stream");
  if (!handle || flags > TC_CUDA_STREAM_NON_BLOCKING) return invalid_value;
  auto stream = std::make_shared<Stream>();
  stream->context = current_context();
  stream->blocking = flags != TC_CUDA_STREAM_NON_BLOCKING;
  *handle = (tc_CUstream)stream.get();
  streams[*handle] = stream;
  return success;
}

CUDA_API(cuStreamDestroy_v2, tc_CUstream handle) {
  BEGIN("stream");
  auto found = streams.find(handle);
  if (found == streams.end()) return invalid_handle;
  std::shared_ptr<Stream> stream = found->second;
  if (stream->capture) stream->capture->invalid = true;
  int error = synchronise({stream, stream->queued}, lock);
  streams.erase(handle);
  return error;
}

CUDA_API(cuStreamSynchronize, tc_CUstream handle) {
  BEGIN("sync");
  std::shared_ptr<Stream> stream = find_stream(handle);
  if (!stream) return invalid_handle;
  if (stream->capture) {
    stream->capture->invalid = true;
    return capture_unsupported;
  }
  if (stream == default_stream(*stream->context)) {
    if (blocking_capture(*stream->context)) return refuse_in_capture(), capture_implicit;
    order_with_default(stream);
  }
  return synchronise({stream, stream->queued}, lock);
}

CUDA_API(cuStreamWaitEvent, tc_CUstream handle, tc_CUevent event_handle, unsigned flags) {
  BEGIN("event");
  std::shared_ptr<Stream> stream = find_stream(handle);
  auto found = events.find(event_handle);
  if (!stream || found == events.end()) return invalid_handle;
  if (flags > 1) return invalid_value;
  Event &event = *found->second;
  if (event.capture) {
    // The stream joins the capture that the event belongs to.
    if (event.capture->invalid) return capture_invalidated;
    if (stream->capture && stream->capture != event.capture) return event.capture->invalid = true, 902;
    if (!stream->capture) {
      stream->capture = event.capture;
      stream->tail.clear();
      event.capture->streams.push_back(stream);
    }
    for (size_t node : event.tail)
      if (std::find(stream->tail.begin(), stream->tail.end(), node) == stream->tail.end())
        stream->tail.push_back(node);
    return success;
  }
  if (!event.record) return success;
  if (!event.record->place.stream) return operation_unsupported;
  if (stream->capture) {
    stream->capture->invalid = true;
    return capture_isolation;
  }
  order_with_default(stream);
  enqueue(*stream, {nullptr, event.record->place});
  return success;
}

// MARK: Events

CUDA_API(cuEventCreate, tc_CUevent *handle, unsigned flags) {
  BEGIN("event");
  if (!handle) return invalid_value;
  auto event = std::make_shared<Event>();
  event->timed = !(flags & 2);  // CU_EVENT_DISABLE_TIMING
  *handle = (tc_CUevent)event.get();
  events[*handle] = event;
  return success;
}

CUDA_API(cuEventDestroy_v2, tc_CUevent handle) {
  BEGIN("event");
  return events.erase(handle) ? success : invalid_handle;
}

namespace {

int record_event(tc_CUevent handle, tc_CUstream stream_handle, bool in_graph) {
  std::shared_ptr<Stream> stream = find_stream(stream_handle);
  auto found = events.find(handle);
  if (!stream || found == events.end()) return invalid_handle;
  Event &event = *found->second;
  if (in_graph && !stream->capture) return invalid_value;
  if (stream->capture && !in_graph) {
    if (stream->capture->invalid) return capture_invalidated;
    event.capture = stream->capture;
    event.tail = stream->tail;
    return success;
  }
  event.capture = nullptr;
  auto record = std::make_shared<Event::Record>();
  event.record = record;
  if (int error = submit(stream, [record] {
        record->milliseconds = now();
        return 0;
      }))
    return error;
  // In a graph, the place is where the graph runs.
  if (!in_graph) record->place = {stream, stream->queued};
  return success;
}

}  // namespace

CUDA_API(cuEventRecord, tc_CUevent handle, tc_CUstream stream_handle) {
  BEGIN("event");
  return record_event(handle, stream_handle, false);
}

CUDA_API(cuEventRecordWithFlags, tc_CUevent handle, tc_CUstream stream_handle, unsigned flags) {
  BEGIN("event");
  if (flags > TC_CUDA_EVENT_RECORD_EXTERNAL) return invalid_value;
  return record_event(handle, stream_handle, flags == TC_CUDA_EVENT_RECORD_EXTERNAL);
}

CUDA_API(cuEventSynchronize, tc_CUevent handle) {
  BEGIN("sync");
  auto found = events.find(handle);
  if (found == events.end()) return invalid_handle;
  Event &event = *found->second;
  if (event.capture) {
    event.capture->invalid = true;
    return captured_event;
  }
  if (!event.record) return success;
  Place place = event.record->place;
  // Of a graph's events nobody here asks but after the stream.
  if (!place.stream) return operation_unsupported;
  return synchronise(place, lock);
}

CUDA_API(cuEventElapsedTime, float *milliseconds, tc_CUevent start_handle, tc_CUevent end_handle) {
  BEGIN("event");
  auto start = events.find(start_handle), end = events.find(end_handle);
  if (start == events.end() || end == events.end()) return invalid_handle;
  if (!milliseconds) return invalid_value;
  const Event &first = *start->second, &last = *end->second;
  if (!first.timed || !last.timed || !first.record || !last.record) return invalid_handle;
  for (const Event *event : {&first, &last}) {
    const Event::Record &record = *event->record;
    bool reached = record.place.stream ? record.place.stream->done >= record.place.position : record.milliseconds >= 0;
    if (!reached) return not_ready;
  }
  *milliseconds = (float)(last.record->milliseconds - first.record->milliseconds);
  return success;
}

// MARK: Graphs

CUDA_API(cuStreamBeginCapture_v2, tc_CUstream handle, int mode) {
  BEGIN("capture");
  auto found = streams.find(handle);
  // The legacy default stream cannot be captured.
  if (found == streams.end()) return (uintptr_t)handle <= 1 ? capture_unsupported : invalid_handle;
  if (mode < 0 || mode > 2) return invalid_value;
  std::shared_ptr<Stream> stream = found->second;
  if (stream->capture) return stream->capture->invalid = true, 901;
  auto capture = std::make_shared<Capture>();
  capture->origin = stream;
  capture->streams = {stream};
  capture->mode = mode;
  capture->thread = std::this_thread::get_id();
  captures.insert(capture);
  stream->capture = capture;
  stream->tail.clear();
  return success;
}

CUDA_API(cuStreamEndCapture, tc_CUstream handle, tc_CUgraph *graph) {
  BEGIN("capture");
  auto found = streams.find(handle);
  if (found == streams.end()) return invalid_handle;
  if (!graph) return invalid_value;
  *graph = nullptr;
  std::shared_ptr<Stream> stream = found->second;
  std::shared_ptr<Capture> capture = stream->capture;
  if (!capture) return invalid_value;
  if (capture->origin != stream) return capture->invalid = true, capture_unmatched;
  if (capture->mode != 2 && capture->thread != std::this_thread::get_id()) return capture_wrong_thread;
  // Everything that other streams did must have come back to this one.
  std::set<size_t> reached;
  std::vector<size_t> pending = stream->tail;
  while (!pending.empty()) {
    size_t node = pending.back();
    pending.pop_back();
    if (!reached.insert(node).second) continue;
    const std::vector<size_t> &after = capture->graph->nodes[node].after;
    pending.insert(pending.end(), after.begin(), after.end());
  }
  bool joined = reached.size() == capture->graph->nodes.size();
  for (const std::weak_ptr<Stream> &member : capture->streams)
    if (std::shared_ptr<Stream> other = member.lock()) {
      other->capture = nullptr;
      other->tail.clear();
    }
  captures.erase(capture);
  if (capture->invalid) return capture_invalidated;
  if (!joined) return capture_unjoined;
  *graph = (tc_CUgraph)capture->graph.get();
  graphs[*graph] = capture->graph;
  return success;
}

CUDA_API(cuGraphInstantiateWithFlags, tc_CUgraphExec *executable, tc_CUgraph graph, unsigned long long) {
  BEGIN("graph");
  auto found = graphs.find(graph);
  if (found == graphs.end()) return invalid_handle;
  if (!executable) return invalid_value;
  auto copy = std::make_shared<Graph>(*found->second);
  *executable = (tc_CUgraphExec)copy.get();
  executables[*executable] = copy;
  return success;
}

CUDA_API(cuGraphLaunch, tc_CUgraphExec executable, tc_CUstream handle) {
  BEGIN("replay");
  auto found = executables.find(executable);
  std::shared_ptr<Stream> stream = find_stream(handle);
  if (found == executables.end() || !stream) return invalid_handle;
  uint64_t seed = next_seed();
  return submit(stream, [graph = found->second, seed] { return run_graph(*graph, seed); });
}

CUDA_API(cuGraphExecDestroy, tc_CUgraphExec executable) {
  BEGIN("graph");
  return executables.erase(executable) ? success : invalid_handle;
}

CUDA_API(cuGraphDestroy, tc_CUgraph graph) {
  BEGIN("graph");
  return graphs.erase(graph) ? success : invalid_handle;
}
