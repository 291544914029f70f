package demo

// tableStatements make the tables. Full-text indexes and the trigger follow
// when the rows are in (finishStatements): that is many times faster.
var tableStatements = []string{
	"CREATE TABLE agents (" +
		" id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY," +
		" name VARCHAR(120) NOT NULL," +
		" email VARCHAR(190) NOT NULL," +
		" signature TEXT," +
		" active BIT(1) NOT NULL DEFAULT b'1'," +
		" UNIQUE KEY email (email)" +
		") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COMMENT='those who answer ☎'",
	"CREATE TABLE customers (" +
		" id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY," +
		" name VARCHAR(120) NOT NULL," +
		" email VARCHAR(190) NOT NULL," +
		" company VARCHAR(120)," +
		" country CHAR(2) CHARACTER SET ascii NOT NULL," +
		" language VARCHAR(8) NOT NULL," +
		" notes TEXT," +
		" created_at DATETIME NOT NULL," +
		" KEY name (name(20))" +
		") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4",
	"CREATE TABLE tickets (" +
		" id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY," +
		" number CHAR(12) CHARACTER SET ascii NOT NULL," +
		" customer_id INT UNSIGNED NOT NULL," +
		" agent_id INT UNSIGNED," +
		" subject VARCHAR(255) NOT NULL," +
		" status ENUM('new','open','waiting','solved','closed') NOT NULL DEFAULT 'new'," +
		" priority TINYINT NOT NULL DEFAULT 3," +
		" satisfaction FLOAT," +
		" cost DECIMAL(10,2) NOT NULL DEFAULT 0," +
		" due DATE," +
		" message_count INT UNSIGNED NOT NULL DEFAULT 0," +
		" created_at DATETIME NOT NULL," +
		" last_message_at DATETIME(3)," +
		" overdue_rank INT GENERATED ALWAYS AS (priority * 10 + message_count) VIRTUAL," +
		" UNIQUE KEY number (number)," +
		" KEY status (status, created_at)," +
		" CONSTRAINT ticket_customer FOREIGN KEY (customer_id) REFERENCES customers (id)," +
		" CONSTRAINT ticket_agent FOREIGN KEY (agent_id) REFERENCES agents (id) ON DELETE SET NULL" +
		") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4",
	"CREATE TABLE ticket_messages (" +
		" id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY," +
		" ticket_id INT UNSIGNED NOT NULL," +
		" author ENUM('customer','agent','system') NOT NULL," +
		" internal BOOLEAN NOT NULL DEFAULT FALSE," +
		" body MEDIUMTEXT NOT NULL," +
		" created_at DATETIME(3) NOT NULL," +
		" CONSTRAINT message_ticket FOREIGN KEY (ticket_id) REFERENCES tickets (id) ON DELETE CASCADE" +
		") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4",
	"CREATE TABLE attachments (" +
		" id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY," +
		" message_id INT UNSIGNED NOT NULL," +
		" name VARCHAR(255) NOT NULL," +
		" mime VARCHAR(80) NOT NULL," +
		" sha256 BINARY(32) NOT NULL," +
		" content LONGBLOB NOT NULL," +
		" CONSTRAINT attachment_message FOREIGN KEY (message_id) REFERENCES ticket_messages (id) ON DELETE CASCADE" +
		") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4",
	"CREATE TABLE uploads (" +
		" id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY," +
		" ticket_id INT UNSIGNED NOT NULL," +
		" path VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL COMMENT 'below the folder uploads'," +
		" size BIGINT UNSIGNED NOT NULL," +
		" UNIQUE KEY path (path)," +
		" CONSTRAINT upload_ticket FOREIGN KEY (ticket_id) REFERENCES tickets (id)" +
		") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4",
	"CREATE TABLE tags (" +
		" id SMALLINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY," +
		" name VARCHAR(60) COLLATE utf8mb4_bin NOT NULL," +
		" colour BINARY(3) NOT NULL," +
		" UNIQUE KEY name (name)" +
		") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4",
	"CREATE TABLE ticket_tags (" +
		" ticket_id INT UNSIGNED NOT NULL," +
		" tag_id SMALLINT UNSIGNED NOT NULL," +
		" PRIMARY KEY (ticket_id, tag_id)," +
		" CONSTRAINT tagged_ticket FOREIGN KEY (ticket_id) REFERENCES tickets (id) ON DELETE CASCADE," +
		" CONSTRAINT tagged_tag FOREIGN KEY (tag_id) REFERENCES tags (id)" +
		") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4",
}

var finishStatements = []string{
	"UPDATE tickets JOIN (SELECT ticket_id, COUNT(*) AS n, MAX(created_at) AS latest FROM ticket_messages GROUP BY ticket_id) m" +
		" ON m.ticket_id = tickets.id SET message_count = m.n, last_message_at = m.latest",
	"ALTER TABLE tickets ADD FULLTEXT KEY subject_words (subject)",
	"ALTER TABLE ticket_messages ADD FULLTEXT KEY body_words (body)",
	"CREATE VIEW open_tickets AS SELECT t.id, t.number, t.subject, c.name AS customer, a.name AS agent, t.message_count" +
		" FROM tickets t JOIN customers c ON c.id = t.customer_id LEFT JOIN agents a ON a.id = t.agent_id" +
		" WHERE t.status IN ('new','open','waiting')",
	"CREATE TRIGGER message_counts AFTER INSERT ON ticket_messages FOR EACH ROW" +
		" UPDATE tickets SET message_count = message_count + 1, last_message_at = NEW.created_at WHERE id = NEW.ticket_id",
}
