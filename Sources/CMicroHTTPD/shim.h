#include <microhttpd.h>

// Swift cannot call variadic functions; this one starts the only kind of server turbocam needs: one thread
// that serves every connection of a socket that listens already. Gives NULL when libmicrohttpd refuses.
static inline struct MHD_Daemon *turbocam_start_http(
    int listening, unsigned connections, unsigned connections_per_address, unsigned idle_seconds,
    size_t memory_per_connection, MHD_AccessHandlerCallback handler, MHD_RequestCompletedCallback completed,
    MHD_NotifyConnectionCallback noted, void *context) {
  return MHD_start_daemon(
      MHD_USE_AUTO | MHD_USE_INTERNAL_POLLING_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, handler,
      context,
      MHD_OPTION_LISTEN_SOCKET, listening,
      MHD_OPTION_CONNECTION_LIMIT, connections,
      MHD_OPTION_PER_IP_CONNECTION_LIMIT, connections_per_address,
      MHD_OPTION_CONNECTION_TIMEOUT, idle_seconds,
      MHD_OPTION_CONNECTION_MEMORY_LIMIT, memory_per_connection,
      MHD_OPTION_NOTIFY_COMPLETED, completed, context,
      MHD_OPTION_NOTIFY_CONNECTION, noted, context,
      MHD_OPTION_END);
}

// Whether libmicrohttpd's enumerations are closed differs between its versions, and with it how they import
// into Swift; constants do not.
static const enum MHD_Result turbocam_mhd_yes = MHD_YES;
static const enum MHD_Result turbocam_mhd_no = MHD_NO;
static const enum MHD_ConnectionNotificationCode turbocam_mhd_started = MHD_CONNECTION_NOTIFY_STARTED;
static const enum MHD_ValueKind turbocam_mhd_header = MHD_HEADER_KIND;
static const enum MHD_ValueKind turbocam_mhd_argument = MHD_GET_ARGUMENT_KIND;
static const enum MHD_ResponseMemoryMode turbocam_mhd_persistent = MHD_RESPMEM_PERSISTENT;
static const enum MHD_ResponseMemoryMode turbocam_mhd_copied = MHD_RESPMEM_MUST_COPY;
static const int64_t turbocam_mhd_end_of_stream = MHD_CONTENT_READER_END_OF_STREAM;
static const uint64_t turbocam_mhd_size_unknown = MHD_SIZE_UNKNOWN;

// Lets the end of the connection end a response without a length, instead of chunks.
static inline void turbocam_http_unchunked(struct MHD_Response *response) {
  MHD_set_response_options(response, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT, MHD_RO_END);
}

// The connection's socket, -1 where there is none.
static inline int turbocam_http_socket(struct MHD_Connection *connection) {
  const union MHD_ConnectionInfo *info =
      MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
  return info ? info->connect_fd : -1;
}
