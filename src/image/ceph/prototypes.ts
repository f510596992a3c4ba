// The C functions that rbdelta calls, as koffi prototypes. Names that may hold any bytes are `const void *`: NUL-terminated buffers.

export const prototypes = {
  rados: {
    rados_version: 'void rados_version(_Out_ int *major, _Out_ int *minor, _Out_ int *extra)',
    rados_create2: 'int rados_create2(_Out_ void **cluster, const char *name, const char *entity, uint64_t flags)',
    rados_conf_read_file: 'int rados_conf_read_file(void *cluster, const char *path)',
    rados_conf_parse_env: 'int rados_conf_parse_env(void *cluster, const char *variable)',
    rados_conf_parse_argv_remainder:
      'int rados_conf_parse_argv_remainder(void *cluster, int argc, void *argv, void *remargv)',
    rados_conf_set: 'int rados_conf_set(void *cluster, const char *option, const char *value)',
    rados_conf_get: 'int rados_conf_get(void *cluster, const char *option, void *buffer, size_t length)',
    rados_connect: 'int rados_connect(void *cluster)',
    rados_shutdown: 'void rados_shutdown(void *cluster)',
    rados_cluster_fsid: 'int rados_cluster_fsid(void *cluster, void *buffer, size_t length)',
    rados_get_instance_id: 'uint64_t rados_get_instance_id(void *cluster)',
    rados_pool_list: 'int rados_pool_list(void *cluster, void *buffer, size_t length)',
    rados_pool_reverse_lookup: 'int rados_pool_reverse_lookup(void *cluster, int64_t id, void *buffer, size_t length)',
    rados_mon_command:
      'int rados_mon_command(void *cluster, void *command, size_t parts, void *in, size_t inLength, _Out_ void **out, _Out_ size_t *outLength, _Out_ void **status, _Out_ size_t *statusLength)',
    rados_buffer_free: 'void rados_buffer_free(void *buffer)',
    rados_ioctx_create: 'int rados_ioctx_create(void *cluster, const void *pool, _Out_ void **io)',
    rados_ioctx_create2: 'int rados_ioctx_create2(void *cluster, int64_t pool, _Out_ void **io)',
    rados_ioctx_destroy: 'void rados_ioctx_destroy(void *io)',
    rados_ioctx_set_namespace: 'void rados_ioctx_set_namespace(void *io, const void *namespace)',
    rados_ioctx_get_id: 'int64_t rados_ioctx_get_id(void *io)',
    rados_ioctx_snap_set_read: 'void rados_ioctx_snap_set_read(void *io, uint64_t snap)',
    rados_exec:
      'int rados_exec(void *io, const void *object, const char *class, const char *method, const void *in, size_t inLength, void *out, size_t outLength)',
    rados_stat: 'int rados_stat(void *io, const void *object, _Out_ uint64_t *size, _Out_ int64_t *mtime)',
    rados_nobjects_list_open: 'int rados_nobjects_list_open(void *io, _Out_ void **list)',
    rados_nobjects_list_next:
      'int rados_nobjects_list_next(void *list, _Out_ void **name, _Out_ void **key, _Out_ void **namespace)',
    rados_nobjects_list_close: 'void rados_nobjects_list_close(void *list)',
    rados_getxattr: 'int rados_getxattr(void *io, const void *object, const void *name, void *buffer, size_t length)',
    rados_read: 'int rados_read(void *io, const void *object, void *buffer, size_t length, uint64_t offset)',
    rados_create_read_op: 'void *rados_create_read_op()',
    rados_release_read_op: 'void rados_release_read_op(void *op)',
    rados_read_op_omap_get_vals2:
      'void rados_read_op_omap_get_vals2(void *op, const void *after, const void *prefix, uint64_t max, void *iterator, void *more, void *result)',
    rados_read_op_operate: 'int rados_read_op_operate(void *op, void *io, const void *object, int flags)',
    rados_omap_get_next2:
      'int rados_omap_get_next2(void *iterator, _Out_ void **key, _Out_ void **value, _Out_ size_t *keyLength, _Out_ size_t *valueLength)',
    rados_omap_get_end: 'void rados_omap_get_end(void *iterator)',
  },
  rbd: {
    rbd_version: 'void rbd_version(_Out_ int *major, _Out_ int *minor, _Out_ int *extra)',
    rbd_open: 'int rbd_open(void *io, const void *name, _Out_ void **image, const void *snap)',
    rbd_open_by_id: 'int rbd_open_by_id(void *io, const void *id, _Out_ void **image, const void *snap)',
    rbd_open_read_only: 'int rbd_open_read_only(void *io, const void *name, _Out_ void **image, const void *snap)',
    rbd_open_by_id_read_only:
      'int rbd_open_by_id_read_only(void *io, const void *id, _Out_ void **image, const void *snap)',
    rbd_close: 'int rbd_close(void *image)',
    rbd_snap_set_by_id: 'int rbd_snap_set_by_id(void *image, uint64_t id)',
    rbd_snap_create: 'int rbd_snap_create(void *image, const void *name)',
    rbd_snap_remove: 'int rbd_snap_remove(void *image, const void *name)',
    rbd_snap_remove2:
      'int rbd_snap_remove2(void *image, const void *name, uint32_t flags, RbdProgress *progress, void *arg)',
    rbd_snap_protect: 'int rbd_snap_protect(void *image, const void *name)',
    rbd_snap_unprotect: 'int rbd_snap_unprotect(void *image, const void *name)',
    rbd_snap_rollback: 'int rbd_snap_rollback(void *image, const void *name)',
    rbd_snap_rollback_with_progress:
      'int rbd_snap_rollback_with_progress(void *image, const void *name, RbdProgress *progress, void *arg)',
    rbd_resize: 'int rbd_resize(void *image, uint64_t size)',
    rbd_resize2: 'int rbd_resize2(void *image, uint64_t size, bool shrink, RbdProgress *progress, void *arg)',
    rbd_diff_iterate2:
      'int rbd_diff_iterate2(void *image, const void *from, uint64_t offset, uint64_t length, uint8_t parent, uint8_t whole, RbdExtent *emit, void *arg)',
    rbd_set_image_notification: 'int rbd_set_image_notification(void *image, int fd, int type)',
    rbd_poll_io_events: 'int rbd_poll_io_events(void *image, void *completions, int count)',
    rbd_aio_create_completion: 'int rbd_aio_create_completion(void *arg, void *callback, _Out_ void **completion)',
    rbd_aio_get_return_value: 'int64_t rbd_aio_get_return_value(void *completion)',
    rbd_aio_release: 'void rbd_aio_release(void *completion)',
    rbd_aio_read: 'int rbd_aio_read(void *image, uint64_t offset, size_t length, void *into, void *completion)',
    rbd_aio_write: 'int rbd_aio_write(void *image, uint64_t offset, size_t length, void *data, void *completion)',
    rbd_aio_write_zeroes:
      'int rbd_aio_write_zeroes(void *image, uint64_t offset, size_t length, void *completion, int zeroFlags, int opFlags)',
    rbd_aio_flush: 'int rbd_aio_flush(void *image, void *completion)',
    rbd_metadata_set: 'int rbd_metadata_set(void *image, const void *key, const void *value)',
    rbd_namespace_exists: 'int rbd_namespace_exists(void *io, const void *name, void *exists)',
    rbd_lock_acquire: 'int rbd_lock_acquire(void *image, int mode)',
    rbd_lock_get_owners: 'int rbd_lock_get_owners(void *image, _Out_ int *mode, void *owners, _Inout_ size_t *count)',
    rbd_lock_get_owners_cleanup: 'void rbd_lock_get_owners_cleanup(void *owners, size_t count)',
    rbd_list_lockers:
      'int64_t rbd_list_lockers(void *image, _Out_ int *exclusive, void *tag, _Inout_ size_t *tagLength, void *clients, _Inout_ size_t *clientsLength, void *cookies, _Inout_ size_t *cookiesLength, void *addresses, _Inout_ size_t *addressesLength)',
    rbd_lock_exclusive: 'int rbd_lock_exclusive(void *image, const void *cookie)',
    rbd_lock_shared: 'int rbd_lock_shared(void *image, const void *cookie, const void *tag)',
    rbd_unlock: 'int rbd_unlock(void *image, const void *cookie)',
    rbd_break_lock: 'int rbd_break_lock(void *image, const void *client, const void *cookie)',
    rbd_snap_set: 'int rbd_snap_set(void *image, const void *name)',
    rbd_rebuild_object_map: 'int rbd_rebuild_object_map(void *image, RbdProgress *progress, void *arg)',
    rbd_watchers_list: 'int rbd_watchers_list(void *image, void *watchers, _Inout_ size_t *count)',
    rbd_watchers_list_cleanup: 'void rbd_watchers_list_cleanup(void *watchers, size_t count)',
    rbd_list2: 'int rbd_list2(void *io, void *images, _Inout_ size_t *count)',
    rbd_image_spec_list_cleanup: 'void rbd_image_spec_list_cleanup(void *images, size_t count)',
    rbd_image_options_create: 'void rbd_image_options_create(_Out_ void **options)',
    rbd_image_options_destroy: 'void rbd_image_options_destroy(void *options)',
    rbd_image_options_set_uint64: 'int rbd_image_options_set_uint64(void *options, int option, uint64_t value)',
    rbd_image_options_set_string: 'int rbd_image_options_set_string(void *options, int option, const void *value)',
    rbd_create4: 'int rbd_create4(void *io, const void *name, uint64_t size, void *options)',
    rbd_clone3:
      'int rbd_clone3(void *parentIo, const void *parent, const void *snap, void *io, const void *name, void *options)',
    rbd_deep_copy_with_progress:
      'int rbd_deep_copy_with_progress(void *image, void *io, const void *name, void *options, RbdProgress *progress, void *arg)',
    rbd_list_children3: 'int rbd_list_children3(void *image, void *children, _Inout_ size_t *count)',
    rbd_linked_image_spec_list_cleanup: 'void rbd_linked_image_spec_list_cleanup(void *images, size_t count)',
    rbd_flatten_with_progress: 'int rbd_flatten_with_progress(void *image, RbdProgress *progress, void *arg)',
    rbd_rename: 'int rbd_rename(void *io, const void *from, const void *to)',
    rbd_metadata_remove: 'int rbd_metadata_remove(void *image, const void *key)',
    rbd_snap_rename: 'int rbd_snap_rename(void *image, const void *from, const void *to)',
    rbd_snap_set_limit: 'int rbd_snap_set_limit(void *image, uint64_t limit)',
    rbd_trash_move: 'int rbd_trash_move(void *io, const void *name, uint64_t delay)',
    rbd_trash_list: 'int rbd_trash_list(void *io, void *entries, _Inout_ size_t *count)',
    rbd_trash_list_cleanup: 'void rbd_trash_list_cleanup(void *entries, size_t count)',
    rbd_trash_restore: 'int rbd_trash_restore(void *io, const void *id, const void *name)',
    rbd_trash_remove_with_progress:
      'int rbd_trash_remove_with_progress(void *io, const void *id, bool force, RbdProgress *progress, void *arg)',
    rbd_namespace_create: 'int rbd_namespace_create(void *io, const void *name)',
    rbd_namespace_remove: 'int rbd_namespace_remove(void *io, const void *name)',
    rbd_namespace_list: 'int rbd_namespace_list(void *io, void *names, _Inout_ size_t *size)',
    rbd_remove: 'int rbd_remove(void *io, const void *name)',
    rbd_remove_with_progress:
      'int rbd_remove_with_progress(void *io, const void *name, RbdProgress *progress, void *arg)',
  },
  libc: {
    eventfd: 'int eventfd(unsigned int initial, int flags)',
    mallopt: 'int mallopt(int parameter, int value)',
    strlen: 'size_t strlen(const void *text)',
    memcpy: 'void *memcpy(void *into, const void *from, size_t length)',
  },
} as const;

/** Callbacks that some of them take. */
export const callbacks = [
  'int RbdExtent(uint64_t offset, size_t length, int exists, void *arg)',
  'int RbdProgress(uint64_t done, uint64_t total, void *arg)',
];

/** Where each is found, and the Debian package that has it. */
export const libraries = {
  rados: { file: 'librados.so.2', package: 'librados2' },
  rbd: { file: 'librbd.so.1', package: 'librbd1' },
  libc: { file: 'libc.so.6', package: 'libc6' },
} as const;
