#include "sandbox/log/index.h"

#include <sqlite3.h>
#include <unistd.h>

#include <utility>

#include "base/check.h"

namespace baleen::sandbox {
namespace {

// Raised whenever the tables change; a file of another number is made anew.
constexpr int kSchemaVersion = 1;

constexpr const char* kSchema = R"(
    BEGIN;
    CREATE TABLE trajectories(id TEXT PRIMARY KEY, name TEXT NOT NULL, created_ns INTEGER NOT NULL,
        sandbox TEXT NOT NULL, last_seq INTEGER NOT NULL, epoch INTEGER NOT NULL,
        status TEXT NOT NULL, detail TEXT NOT NULL, segments INTEGER NOT NULL,
        last_segment_bytes INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX trajectories_by_sandbox ON trajectories(sandbox);
    CREATE TABLE labels(id TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
        PRIMARY KEY(id, key)) WITHOUT ROWID;
    CREATE INDEX labels_by_value ON labels(key, value, id);
    PRAGMA user_version = 1;
    COMMIT;)";

const std::string kSelect =
    "SELECT id, name, created_ns, sandbox, last_seq, epoch, status, detail, segments, "
    "last_segment_bytes FROM trajectories ";

Error sqlite_error(sqlite3* connection, const std::string& path) {
    const int code = connection != nullptr ? sqlite3_errcode(connection) : SQLITE_NOMEM;
    const bool is_full = code == SQLITE_FULL;
    const bool is_damaged = code == SQLITE_CORRUPT || code == SQLITE_NOTADB;
    return make_error(is_full      ? ErrorCode::kExhausted
                      : is_damaged ? ErrorCode::kCorrupt
                                   : ErrorCode::kIo,
                      "{}: {}", path,
                      connection != nullptr ? sqlite3_errmsg(connection) : "out of memory");
}

// One prepared statement: bind in order, then step through the rows.
class Statement {
  public:
    static Result<Statement> prepare(sqlite3* connection, const std::string& path,
                                     const std::string& sql) {
        Statement statement(connection, path);
        if (sqlite3_prepare_v2(connection, sql.c_str(), static_cast<int>(sql.size()),
                               &statement.handle_, nullptr) != SQLITE_OK)
            return sqlite_error(connection, path);
        return statement;
    }
    Statement(Statement&& other) noexcept
        : connection_(other.connection_),
          path_(other.path_),
          handle_(std::exchange(other.handle_, nullptr)),
          bound_(other.bound_) {}
    Statement& operator=(Statement&&) = delete;
    ~Statement() { sqlite3_finalize(handle_); }

    Statement& bind(const std::string& text) {
        check(sqlite3_bind_text(handle_, ++bound_, text.data(), static_cast<int>(text.size()),
                                SQLITE_TRANSIENT));
        return *this;
    }
    Statement& bind(uint64_t number) {
        check(sqlite3_bind_int64(handle_, ++bound_, static_cast<sqlite3_int64>(number)));
        return *this;
    }
    // True while there is a row.
    Result<bool> step() {
        const int code = sqlite3_step(handle_);
        if (code == SQLITE_ROW) return true;
        if (code == SQLITE_DONE) return false;
        return sqlite_error(connection_, path_);
    }
    Result<void> run() {
        if (const auto stepped = step(); !stepped) return stepped.error();
        reset();
        return {};
    }
    void reset() {
        bound_ = 0;
        sqlite3_reset(handle_);
    }
    std::string text(int column) const {
        const auto* bytes = sqlite3_column_text(handle_, column);
        const int size = sqlite3_column_bytes(handle_, column);
        return bytes == nullptr
                   ? ""
                   : std::string(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
    }
    uint64_t number(int column) const {
        return static_cast<uint64_t>(sqlite3_column_int64(handle_, column));
    }

  private:
    Statement(sqlite3* connection, const std::string& path)
        : connection_(connection), path_(path) {}
    // Only misuse or no memory can go wrong here.
    static void check(int code) { CHECK_EQ(code, SQLITE_OK); }

    sqlite3* connection_;
    const std::string& path_;
    sqlite3_stmt* handle_ = nullptr;
    int bound_ = 0;
};

TrajectoryRow row_of(const Statement& statement) {
    TrajectoryRow row;
    row.id = statement.text(0);
    row.name = statement.text(1);
    row.created_ns = statement.number(2);
    row.sandbox = statement.text(3);
    row.last_seq = statement.number(4);
    row.epoch = statement.number(5);
    row.status = statement.text(6);
    row.detail = statement.text(7);
    row.segments = static_cast<uint32_t>(statement.number(8));
    row.last_segment_bytes = statement.number(9);
    return row;
}

Result<std::vector<TrajectoryRow>> select_rows(sqlite3* connection, const std::string& path,
                                               const std::string& where,
                                               const std::vector<std::string>& values) {
    Statement select = TRY(Statement::prepare(connection, path, kSelect + where));
    Statement labels =
        TRY(Statement::prepare(connection, path, "SELECT key, value FROM labels WHERE id = ?"));
    for (const std::string& value : values) select.bind(value);
    std::vector<TrajectoryRow> rows;
    while (TRY(select.step())) {
        TrajectoryRow row = row_of(select);
        labels.bind(row.id);
        while (TRY(labels.step())) row.labels.emplace(labels.text(0), labels.text(1));
        labels.reset();
        rows.push_back(std::move(row));
    }
    return rows;
}

}  // namespace

// ---- opening -----------------------------------------------------------------------------------

Result<std::unique_ptr<TrajectoryIndex>> TrajectoryIndex::open(const std::string& path) {
    std::unique_ptr<TrajectoryIndex> index(new TrajectoryIndex(path));
    if (index->connect()) return index;
    sqlite3_close(std::exchange(index->connection_, nullptr));
    for (const char* suffix : {"", "-wal", "-shm", "-journal"}) ::unlink((path + suffix).c_str());
    TRY(index->connect());
    return index;
}

TrajectoryIndex::~TrajectoryIndex() {
    sqlite3_close(connection_);
}

Result<void> TrajectoryIndex::run(const char* sql) const {
    if (sqlite3_exec(connection_, sql, nullptr, nullptr, nullptr) != SQLITE_OK)
        return sqlite_error(connection_, path_);
    return {};
}

// An error if the file is there and is not a sound table of this version.
Result<void> TrajectoryIndex::connect() {
    const std::lock_guard lock(mutex_);
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(path_.c_str(), &connection_, flags, nullptr) != SQLITE_OK)
        return sqlite_error(connection_, path_);
    // Without a sync per change: what a crash takes is read from the logs again.
    TRY(run("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"));
    const auto one_value = [&](const std::string& sql) -> Result<std::string> {
        Statement statement = TRY(Statement::prepare(connection_, path_, sql));
        TRY(statement.step());
        return statement.text(0);
    };
    const std::string version = TRY(one_value("PRAGMA user_version"));
    const std::string tables = TRY(one_value("SELECT count(*) FROM sqlite_master"));
    if (version == "0" && tables == "0") return run(kSchema);
    if (version != std::to_string(kSchemaVersion))
        return make_error(ErrorCode::kUnsupported, "{}: version {}, known is {}", path_, version,
                          kSchemaVersion);
    const std::string verdict = TRY(one_value("PRAGMA quick_check(1)"));
    if (verdict != "ok") return make_error(ErrorCode::kCorrupt, "{}: {}", path_, verdict);
    return {};
}

// ---- changing ----------------------------------------------------------------------------------

Result<void> TrajectoryIndex::in_transaction(const std::function<Result<void>()>& change) {
    TRY(run("BEGIN IMMEDIATE"));
    Result<void> changed = change();
    if (changed) changed = run("COMMIT");
    if (!changed) (void)run("ROLLBACK");
    return changed;
}

Result<void> TrajectoryIndex::put(const std::vector<TrajectoryRow>& rows) {
    const std::lock_guard lock(mutex_);
    return in_transaction([&]() -> Result<void> {
        Statement row_put = TRY(Statement::prepare(
            connection_, path_, "REPLACE INTO trajectories VALUES(?,?,?,?,?,?,?,?,?,?)"));
        Statement labels_delete =
            TRY(Statement::prepare(connection_, path_, "DELETE FROM labels WHERE id = ?"));
        Statement label_put =
            TRY(Statement::prepare(connection_, path_, "INSERT INTO labels VALUES(?,?,?)"));
        for (const TrajectoryRow& row : rows) {
            row_put.bind(row.id).bind(row.name).bind(row.created_ns).bind(row.sandbox);
            row_put.bind(row.last_seq).bind(row.epoch).bind(row.status).bind(row.detail);
            row_put.bind(uint64_t{row.segments}).bind(row.last_segment_bytes);
            TRY(row_put.run());
            TRY(labels_delete.bind(row.id).run());
            for (const auto& [key, value] : row.labels)
                TRY(label_put.bind(row.id).bind(key).bind(value).run());
        }
        return {};
    });
}

Result<void> TrajectoryIndex::remove(const std::vector<std::string>& ids) {
    const std::lock_guard lock(mutex_);
    return in_transaction([&]() -> Result<void> {
        for (const char* sql :
             {"DELETE FROM labels WHERE id = ?", "DELETE FROM trajectories WHERE id = ?"}) {
            Statement statement = TRY(Statement::prepare(connection_, path_, sql));
            for (const std::string& id : ids) TRY(statement.bind(id).run());
        }
        return {};
    });
}

// ---- reading -----------------------------------------------------------------------------------

Result<std::optional<TrajectoryRow>> TrajectoryIndex::find(const std::string& id) const {
    const std::lock_guard lock(mutex_);
    std::vector<TrajectoryRow> rows = TRY(select_rows(connection_, path_, "WHERE id = ?", {id}));
    if (rows.empty()) return std::optional<TrajectoryRow>();
    return std::optional(std::move(rows.front()));
}

Result<std::vector<TrajectoryRow>> TrajectoryIndex::list(const TrajectoryFilter& filter) const {
    std::string where = "WHERE id > ?";
    std::vector<std::string> values = {filter.after};
    const auto add = [&](const char* condition, const std::string& value) {
        if (value.empty()) return;
        where += condition;
        values.push_back(value);
    };
    add(" AND status = ?", filter.status);
    add(" AND sandbox = ?", filter.sandbox);
    if (!filter.label_key.empty()) {
        add(" AND id IN (SELECT id FROM labels WHERE key = ? AND value = ?)", filter.label_key);
        values.push_back(filter.label_value);
    }
    where += fmt::format(" ORDER BY id LIMIT {}", filter.rows_max);
    const std::lock_guard lock(mutex_);
    return select_rows(connection_, path_, where, values);
}

Result<uint64_t> TrajectoryIndex::count() const {
    const std::lock_guard lock(mutex_);
    Statement statement =
        TRY(Statement::prepare(connection_, path_, "SELECT count(*) FROM trajectories"));
    TRY(statement.step());
    return statement.number(0);
}

}  // namespace baleen::sandbox
