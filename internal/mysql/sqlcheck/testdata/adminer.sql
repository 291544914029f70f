-- Adminer 4.8.1 MySQL 10.11.6-MariaDB dump

SET NAMES utf8;
SET time_zone = '+00:00';
SET foreign_key_checks = 0;
SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO';

SET NAMES utf8mb4;

DROP TABLE IF EXISTS `a`;
CREATE TABLE `a` (
  `id` int(11)
) ENGINE=InnoDB;

INSERT INTO `a` (`id`) VALUES
(1),
(2);

-- 2026-11-23 04:16:20
