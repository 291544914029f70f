-- MariaDB dump 10.19
CREATE DATABASE `mysql`;
USE `mysql`;
CREATE TABLE user (a int);
INSERT INTO user VALUES (1);
CREATE DATABASE `x1`;
USE `x1`;
DROP TABLE IF EXISTS t;
CREATE TABLE t (a int);
INSERT INTO t VALUES (1),(2);
CREATE DATABASE `x2`;
USE `x2`;
-- Table structure for table `other`
DROP TABLE IF EXISTS t;
CREATE TABLE t (a int);
INSERT INTO t VALUES (77);
SET NAMES utf8mb4;
USE x1;
CREATE TABLE u (a int);
-- Dump completed on 2024-07-01 12:00:00
